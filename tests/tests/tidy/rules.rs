//! The rules about one file.

use crate::source::{Finding, Source, numbered};

/// A file tells one story.
const LINES_MAX: usize = 600;
/// Files that may say `unsafe`: none.
const UNSAFE_ALLOWED: [&str; 0] = [];

type Rule = fn(&Source) -> Vec<Finding>;
const RULES: [Rule; 10] = [
    file_is_short,
    module_has_a_head,
    no_unsafe,
    library_forbids_unsafe,
    lints_are_expected_not_allowed,
    nothing_is_left_undone,
    no_path_of_a_machine,
    vectors_name_their_source,
    crate_inherits_the_lints,
    keys_do_not_print_themselves,
];

/// Every rule on one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule(source)).collect()
}

fn file_is_short(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if !source.is_rust() || lines <= LINES_MAX {
        return Vec::new();
    }
    vec![Finding::new(&source.path, LINES_MAX, format!("{lines} lines, at most {LINES_MAX}: split it"))]
}

/// What a module is, what it follows, what it refuses. A module of tests is described by their names.
fn module_has_a_head(source: &Source) -> Vec<Finding> {
    let has =
        source.text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//!"));
    if !source.is_rust() || has {
        return Vec::new();
    }
    vec![Finding::new(&source.path, 1, "no module head (`//!`) in the first line")]
}

fn no_unsafe(source: &Source) -> Vec<Finding> {
    if UNSAFE_ALLOWED.contains(&source.path.as_str()) {
        return Vec::new();
    }
    lines_with_word(
        source,
        "unsafe",
        "unsafe code: only the files listed in tests/tests/tidy/rules.rs may hold it",
    )
}

fn library_forbids_unsafe(source: &Source) -> Vec<Finding> {
    let is_root = source.path.ends_with("src/lib.rs");
    let excused =
        UNSAFE_ALLOWED.iter().any(|file| Some(crate_of(file)) == source.path.strip_suffix("/lib.rs"));
    if !is_root || excused || source.code.contains("#![forbid(unsafe_code)]") {
        return Vec::new();
    }
    vec![Finding::new(&source.path, 1, "a library says #![forbid(unsafe_code)]")]
}

/// `protocol/src` of `protocol/src/a/b.rs`.
fn crate_of(path: &str) -> &str {
    path.find("/src/").map_or(path, |at| &path[..at + "/src".len()])
}

fn lints_are_expected_not_allowed(source: &Source) -> Vec<Finding> {
    find_lines(source, |line| {
        ["#[allow(", "#![allow("]
            .iter()
            .any(|needle| squeeze(line).contains(needle))
            .then_some("a lint is allowed: use #[expect(lint, reason = \"…\")]")
    })
}

fn nothing_is_left_undone(source: &Source) -> Vec<Finding> {
    find_lines(source, |line| {
        let line = squeeze(line);
        if line.contains("#[ignore") {
            Some("an ignored test: make it pass or remove it")
        } else if ["todo!", "unimplemented!"].iter().any(|name| line.contains(name)) {
            Some("unfinished code")
        } else {
            None
        }
    })
}

fn no_path_of_a_machine(source: &Source) -> Vec<Finding> {
    // In two parts, or this file would break its own rule.
    let needles =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    numbered(&source.text)
        .filter(|(_, line)| needles.iter().any(|needle| begins_a_path(line, needle)))
        .map(|(number, _)| Finding::new(&source.path, number, "a path of somebody's machine"))
        .collect()
}

/// True if `needle` stands in `line` where a path begins, not inside a longer one.
fn begins_a_path(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-})*".contains(c))
    })
}

fn vectors_name_their_source(source: &Source) -> Vec<Finding> {
    let is_vector = ["tests/vectors/", "tests/frames/", "tests/traces/"]
        .iter()
        .any(|folder| source.path.starts_with(folder) && source.path.ends_with(".json"));
    if !is_vector {
        return Vec::new();
    }
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&source.text) else {
        return vec![Finding::new(&source.path, 1, "not JSON")];
    };
    // `derivation` is what a file calls it whose values were all computed for it.
    let named = ["source", "derivation"]
        .iter()
        .any(|key| value.get(key).and_then(|text| text.as_str()).is_some_and(|text| !text.trim().is_empty()));
    if named { Vec::new() } else { vec![Finding::new(&source.path, 1, "a vector file without its source")] }
}

fn crate_inherits_the_lints(source: &Source) -> Vec<Finding> {
    let is_member = source.path.ends_with("/Cargo.toml") && !source.path.starts_with("tests/fuzz/");
    let inherits = source.text.lines().map(str::trim).skip_while(|line| *line != "[lints]").nth(1);
    if !is_member || inherits == Some("workspace = true") {
        return Vec::new();
    }
    vec![Finding::new(&source.path, 1, "a crate without `[lints] workspace = true`")]
}

/// Heuristic: a derived `Debug` on a type whose name says secret and whose fields are bare bytes.
fn keys_do_not_print_themselves(source: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = source.code.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if !squeeze(line).starts_with("#[derive(") {
            continue;
        }
        let attribute = statement_from(&lines[index..], ']');
        let Some(item) =
            lines[index + attribute.lines().count()..].iter().position(|line| type_name(line).is_some())
        else {
            continue;
        };
        let item = &lines[index + attribute.lines().count() + item..];
        let name = type_name(item[0]).unwrap_or_default();
        if attribute.contains("Debug") && sounds_secret(name) && has_bare_bytes(&body_of(item)) {
            findings.push(Finding::new(
                &source.path,
                index + 1,
                format!("{name} derives Debug and would print its bytes"),
            ));
        }
    }
    findings
}

fn sounds_secret(name: &str) -> bool {
    let says = ["Key", "Pin", "Secret", "Pan", "Track2"].iter().any(|ending| name.ends_with(ending));
    says && !name.contains("Public")
}

fn has_bare_bytes(body: &str) -> bool {
    let body = squeeze(body);
    ["[u8;", "[u8]", "Vec<u8", "String"].iter().any(|bytes| body.contains(bytes))
}

/// The name of the type that a line declares.
fn type_name(line: &str) -> Option<&str> {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.find(|word| ["struct", "enum"].contains(word)).and_then(|_| words.next())
}

/// Lines up to and with the first that ends a declaration.
fn body_of(lines: &[&str]) -> String {
    let mut body = String::new();
    for line in lines {
        body.push_str(line);
        body.push('\n');
        if line.contains(';') && !line.contains('{') && !body.contains('{') || line.trim_end().ends_with('}')
        {
            break;
        }
    }
    body
}

fn statement_from(lines: &[&str], end: char) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push('\n');
        if line.contains(end) {
            break;
        }
    }
    text
}

fn squeeze(line: &str) -> String {
    line.chars().filter(|c| !c.is_whitespace()).collect()
}

fn find_lines(source: &Source, judge: impl Fn(&str) -> Option<&'static str>) -> Vec<Finding> {
    numbered(&source.code)
        .filter_map(|(number, line)| judge(line).map(|message| Finding::new(&source.path, number, message)))
        .collect()
}

fn lines_with_word(source: &Source, word: &str, message: &'static str) -> Vec<Finding> {
    find_lines(source, |line| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word).then_some(message)
    })
}

#[cfg(test)]
mod tests {
    use crate::findings_in;

    const HEAD: &str = "//! A module.\n";

    #[track_caller]
    fn breaks(path: &str, text: &str, message: &str) {
        let findings = findings_in(path, text);
        assert!(findings.iter().any(|finding| finding.contains(message)), "{findings:?}");
    }

    #[track_caller]
    fn keeps(path: &str, text: &str) {
        assert_eq!(findings_in(path, text), Vec::<String>::new());
    }

    #[test]
    fn a_plain_module_keeps_every_rule() {
        keeps(
            "a/src/b.rs",
            "//! A module.\n/// Not `unsafe`, nothing todo!.\npub fn f() -> &'static str { \"unsafe todo!\" }\n",
        );
    }

    #[test]
    fn a_file_of_601_lines_is_too_long_and_one_of_600_is_not() {
        breaks("a/src/b.rs", &format!("{HEAD}{}", "\n".repeat(600)), "601 lines");
        keeps("a/src/b.rs", &format!("{HEAD}{}", "\n".repeat(599)));
    }

    #[test]
    fn a_module_without_a_head_is_found() {
        breaks("a/src/b.rs", "pub fn f() {}\n", "module head");
    }

    #[test]
    fn unsafe_code_is_found_as_a_word_and_not_as_part_of_one() {
        breaks("a/src/b.rs", &format!("{HEAD}fn f() {{ unsafe {{ g() }} }}\n"), "b.rs:2: unsafe");
        keeps("a/src/b.rs", &format!("{HEAD}fn not_unsafe_at_all() {{}}\n"));
    }

    #[test]
    fn a_library_that_does_not_forbid_unsafe_code_is_found() {
        breaks("a/src/lib.rs", HEAD, "forbid(unsafe_code)");
        keeps("a/src/lib.rs", &format!("{HEAD}#![forbid(unsafe_code)]\n"));
    }

    #[test]
    fn an_allowed_lint_is_found_and_an_expected_one_is_not() {
        breaks(
            "a/src/b.rs",
            &format!("{HEAD}#[allow(dead_code)]\nfn f() {{}}\n"),
            "b.rs:2: a lint is allowed",
        );
        breaks("a/src/b.rs", &format!("{HEAD}#![ allow (dead_code)]\n"), "a lint is allowed");
        keeps("a/src/b.rs", &format!("{HEAD}#[expect(dead_code, reason = \"\")]\nfn f() {{}}\n"));
    }

    #[test]
    fn unfinished_code_and_ignored_tests_are_found() {
        breaks("a/src/b.rs", &format!("{HEAD}fn f() {{ todo!() }}\n"), "unfinished");
        breaks("a/src/b.rs", &format!("{HEAD}fn f() {{ unimplemented!() }}\n"), "unfinished");
        breaks(
            "a/src/b.rs",
            &format!("{HEAD}#[test]\n#[ignore = \"slow\"]\nfn f() {{}}\n"),
            "b.rs:3: an ignored test",
        );
    }

    #[test]
    fn a_path_of_a_machine_is_found_in_any_kind_of_text() {
        for path in ["README.md", "scripts/x", "a/src/b.rs"] {
            let text = format!("//! See {}me/somebody/notes.\n", "/ho");
            breaks(path, &text, ":1: a path of somebody's machine");
        }
        keeps("scripts/x", concat!("ls $tools/ro", "ot/usr .tools/ro", "ot/usr\n"));
    }

    #[test]
    fn a_vector_file_without_source_is_found() {
        breaks("tests/vectors/a.json", r#"{"records": []}"#, "without its source");
        breaks("tests/vectors/a.json", r#"{"source": " "}"#, "without its source");
        breaks("tests/vectors/a.json", "{", "not JSON");
        keeps("tests/vectors/a.json", r#"{"source": "RFC 4493", "records": []}"#);
    }

    #[test]
    fn a_crate_that_does_not_inherit_the_lints_is_found() {
        breaks("a/Cargo.toml", "[package]\nname = \"a\"\n", "[lints]");
        breaks("a/Cargo.toml", "[lints]\nrust.unsafe_code = \"allow\"\n", "[lints]");
        keeps("a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n");
    }

    #[test]
    fn a_key_that_derives_debug_over_bare_bytes_is_found() {
        let bad = format!("{HEAD}#[derive(Clone, Debug)]\npub struct CardKey([u8; 16]);\n");
        breaks("a/src/b.rs", &bad, "CardKey derives Debug");
        let braces = format!(
            "{HEAD}#[derive(\n    Debug,\n)]\n/// Doc.\nstruct OldPin {{\n    digits: Vec<u8>,\n}}\n"
        );
        breaks("a/src/b.rs", &braces, "OldPin derives Debug");
        keeps("a/src/b.rs", &format!("{HEAD}#[derive(Clone, Debug)]\npub struct CardKey(Secret<16>);\n"));
        keeps("a/src/b.rs", &format!("{HEAD}#[derive(Debug)]\npub struct PublicKey([u8; 33]);\n"));
        keeps("a/src/b.rs", &format!("{HEAD}#[derive(Clone)]\npub struct CardKey([u8; 16]);\n"));
    }
}
