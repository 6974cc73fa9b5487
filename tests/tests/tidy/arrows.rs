//! The arrows between crates (ARCHITECTURE.md): who may depend on whom, and who may touch the outside world.

use crate::source::{Finding, Source};
use std::path::Path;

/// A package, its folder, its library's name, and the packages of ours it may depend on.
struct Arrows {
    package: &'static str,
    folder: &'static str,
    library: &'static str,
    may_use: &'static [&'static str],
}

const fn arrows(
    package: &'static str,
    folder: &'static str,
    library: &'static str,
    may_use: &'static [&'static str],
) -> Arrows {
    Arrows { package, folder, library, may_use }
}

const ARROWS: [Arrows; 10] = [
    arrows("protocol", "protocol/", "protocol", &[]),
    arrows("tapline-console", "protocol/console/", "console", &[]),
    arrows("hardware", "hardware/", "hardware", &["protocol"]),
    arrows("card-applet-sim", "card-applet-sim/", "card_applet_sim", &["protocol", "tapline-console"]),
    arrows("flow", "terminal/flow/", "flow", &["protocol"]),
    arrows("terminal", "terminal/", "terminal", &["protocol", "tapline-console", "hardware", "flow"]),
    arrows("keys", "posp-gateway/keys/", "keys", &["protocol"]),
    arrows("backend", "posp-gateway/backend/", "backend", &["protocol", "keys"]),
    arrows(
        "posp-gateway",
        "posp-gateway/",
        "posp_gateway",
        &["protocol", "tapline-console", "keys", "backend"],
    ),
    arrows(
        "tests",
        "tests/",
        "tests",
        &[
            "protocol",
            "tapline-console",
            "hardware",
            "card-applet-sim",
            "flow",
            "terminal",
            "keys",
            "backend",
            "posp-gateway",
        ],
    ),
];

/// Crates that are pure: no files, no network, no clock, no threads, no randomness of their own.
const PURE: [&str; 2] = ["protocol", "flow"];
const OUTSIDE_WORLD: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::io",
    "std::thread",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime",
    "getrandom",
];

/// Every dependency, of any kind, in `cargo metadata`.
pub(crate) fn check(root: &Path) -> Vec<Finding> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    assert_eq!(metadata.packages.len(), ARROWS.len(), "a crate is missing in the table of arrows, or gone");
    let edges = metadata.packages.iter().flat_map(|package| {
        package.dependencies.iter().map(|dependency| (package.name.to_string(), dependency.name.clone()))
    });
    edges.filter_map(|(from, to)| judge(&from, &to)).collect()
}

fn judge(from: &str, to: &str) -> Option<Finding> {
    ARROWS.iter().find(|entry| entry.package == to)?;
    let allowed = ARROWS.iter().any(|entry| entry.package == from && entry.may_use.contains(&to));
    (!allowed).then(|| Finding::new(from, 0, format!("{from} may not depend on {to}")))
}

/// The `use` lines of one file; `files` tells which of its names are its own modules.
pub(crate) fn check_uses(source: &Source, files: &[Source]) -> Vec<Finding> {
    let Some(owner) = owner_of(&source.path).filter(|_| source.is_rust()) else { return Vec::new() };
    let mut findings = Vec::new();
    for (number, line) in source.product_lines() {
        let other = used_crate(line).and_then(|name| ARROWS.iter().find(|entry| entry.library == name));
        if let Some(other) = other {
            let itself = other.package == owner.package;
            if !itself
                && !owner.may_use.contains(&other.package)
                && !is_own_module(source, other.library, files)
            {
                findings.push(Finding::new(&source.path, number, format!("uses {}", other.library)));
            }
        }
        if PURE.contains(&owner.package) && !source.is_test() && !source.path.ends_with("/build.rs") {
            findings.extend(
                OUTSIDE_WORLD
                    .iter()
                    .filter(|name| line.contains(**name))
                    .map(|name| Finding::new(&source.path, number, format!("{name} in a crate without I/O"))),
            );
        }
    }
    findings
}

/// The crate whose folder is the longest that holds the file.
fn owner_of(path: &str) -> Option<&'static Arrows> {
    ARROWS.iter().filter(|entry| path.starts_with(entry.folder)).max_by_key(|entry| entry.folder.len())
}

/// `a` in `use a::b;` and `pub use ::a;`.
fn used_crate(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let path =
        line.split_once("use ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"))?.1;
    path.trim_start_matches("::").split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn is_own_module(source: &Source, name: &str, files: &[Source]) -> bool {
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (file, module) = (format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs"));
    files.iter().any(|other| other.path == file || other.path == module)
}

#[cfg(test)]
mod tests {
    use super::{check_uses, judge};
    use crate::source::Source;

    fn uses(path: &str, text: &str) -> usize {
        check_uses(&Source::new(path, text), &[]).len()
    }

    #[test]
    fn an_arrow_against_the_architecture_is_found_and_an_allowed_one_is_not() {
        assert!(judge("card-applet-sim", "flow").is_some());
        assert!(judge("protocol", "hardware").is_some());
        assert!(judge("backend", "posp-gateway").is_some());
        assert!(judge("posp-gateway", "terminal").is_some());
        assert!(judge("terminal", "flow").is_none());
        assert!(judge("protocol", "aes").is_none(), "not ours");
    }

    #[test]
    fn a_use_line_against_the_architecture_is_found_and_an_allowed_one_is_not() {
        assert_eq!(uses("card-applet-sim/src/a.rs", "use flow::Purchase;\n"), 1);
        assert_eq!(uses("protocol/src/a.rs", "    pub(crate) use ::terminal::x;\n"), 1);
        assert_eq!(uses("terminal/flow/src/a.rs", "use console::Code;\n"), 1);
        assert_eq!(uses("terminal/src/a.rs", "use flow::Purchase;\nuse crate::keys;\n"), 0);
        assert_eq!(uses("hardware/src/a.rs", "// use flow::Purchase;\nlet x = \"use flow::x\";\n"), 0);
    }

    #[test]
    fn a_module_with_a_crates_name_is_no_arrow() {
        let module = Source::new("card-applet-sim/src/keys.rs", "");
        let user = Source::new("card-applet-sim/src/lib.rs", "pub use keys::CardKeys;\n");
        assert_eq!(check_uses(&user, &[module]).len(), 0);
        assert_eq!(check_uses(&user, &[]).len(), 1);
    }

    #[test]
    fn a_pure_crate_that_touches_the_outside_world_is_found() {
        assert_eq!(uses("terminal/flow/src/a.rs", "let now = std::time::Instant::now();\n"), 1);
        assert_eq!(uses("protocol/src/a.rs", "use std::fs;\n"), 1);
        assert_eq!(uses("protocol/src/a.rs", "#[cfg(test)]\nuse std::fs;\n"), 0);
        assert_eq!(uses("terminal/src/a.rs", "use std::fs;\n"), 0);
    }
}
