//! The tidy test: what ARCHITECTURE.md and CONTRIBUTING.md promise about the code, checked on every file of the workspace.
//!
//! Rules about one file are in `tidy/rules.rs`, the arrows between crates in `tidy/arrows.rs`; each rule is tested there on
//! a sample that breaks it. A finding names file, line and rule. There are no exceptions but the lists in those files.
#![cfg(test)]

use std::path::{Path, PathBuf};

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use source::{Finding, Source};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above tests/").to_path_buf()
}

#[test]
fn every_file_keeps_the_rules() {
    let files = source::files_of(&workspace());
    assert!(files.len() > 20, "only {} files found: the walk is broken", files.len());
    report(files.iter().flat_map(rules::check).collect());
}

#[test]
fn crates_depend_on_each_other_only_as_the_architecture_says() {
    report(arrows::check(&workspace()));
}

#[test]
fn use_lines_name_only_crates_the_arrows_allow() {
    let files = source::files_of(&workspace());
    report(files.iter().flat_map(|file| arrows::check_uses(file, &files)).collect());
}

fn report(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "{} findings\n{}", lines.len(), lines.join("\n"));
}

/// Paths of the source lines that a rule found in `text`, as if it were the file `path`.
fn findings_in(path: &str, text: &str) -> Vec<String> {
    rules::check(&Source::new(path, text)).iter().map(Finding::to_string).collect()
}
