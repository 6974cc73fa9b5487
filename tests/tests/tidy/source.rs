//! The files the tidy test looks at, and their text with comments and literals blanked out.

use std::fmt;
use std::fs;
use std::path::Path;

/// Folders that hold nothing of ours.
const SKIPPED_FOLDERS: [&str; 5] = ["target", ".git", ".tools", ".venv", "__pycache__"];
/// What counts as text of the project.
const TEXT_ENDINGS: [&str; 9] = ["rs", "toml", "md", "json", "ftl", "py", "sh", "yml", "sql"];

/// A file of the project.
pub(crate) struct Source {
    /// From the workspace's folder, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Rust only: the same lines with comments, strings and characters blanked out.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { blank(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Test code as a whole file: integration tests, and modules named `tests`.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs") || self.path.starts_with("tests/")
    }

    /// Code lines with their numbers, up to the file's own test module.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut inside = true;
        numbered(&self.code).take_while(move |(_, line)| {
            inside &= !line.trim_start().starts_with("#[cfg(test)]");
            inside
        })
    }
}

/// Lines with their numbers, from 1.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// A rule that a file breaks.
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Every text file under `root`, in order of path.
pub(crate) fn files_of(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    walk(root, root, &mut files);
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace can be read") {
        let entry = entry.expect("an entry");
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                walk(root, &path, files);
            }
        } else if kind.is_file() && is_text(root, &path, &name) {
            let relative =
                path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            // What is not UTF-8 is no text: fixtures of broken files, say.
            if let Ok(text) = fs::read_to_string(&path) {
                files.push(Source::new(&relative, &text));
            }
        }
    }
}

fn is_text(root: &Path, path: &Path, name: &str) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| TEXT_ENDINGS.contains(&ending))
        || name == "Makefile"
        || path.strip_prefix(root).is_ok_and(|path| path.starts_with("scripts") || path.starts_with(".ci"))
}

/// `text` with comments, strings and characters blanked out, line breaks kept.
pub(crate) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match literal_at(&chars, at) {
            Some(end) => end,
            None => {
                out.push(chars[at]);
                at += 1;
                continue;
            }
        };
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Where the comment, string or character that begins at `at` ends; `None` if none begins there.
fn literal_at(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => Some(until(chars, at, |chars, i| chars[i] == '\n', 0)),
        ['/', '*', ..] => Some(block_comment_end(chars, at)),
        ['r', '"' | '#', ..] if !word_before(chars, at) => raw_string_end(chars, at + 1),
        ['b', 'r', '"' | '#', ..] if !word_before(chars, at) => raw_string_end(chars, at + 2),
        ['"', ..] => Some(string_end(chars, at)),
        ['\'', '\\', ..] => Some(until(chars, at + 3, |chars, i| chars[i] == '\'', 1)),
        ['\'', _, '\'', ..] => Some(at + 3),
        _ => None,
    }
}

fn word_before(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

/// The first position from `at` where `found`, and `extra` more.
fn until(chars: &[char], at: usize, found: impl Fn(&[char], usize) -> bool, extra: usize) -> usize {
    (at..chars.len()).find(|i| found(chars, *i)).map_or(chars.len(), |i| i + extra)
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match &chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// From the first `#` or `"` after the `r`.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start..].iter().take_while(|c| **c == '#').count();
    if chars.get(start + hashes) != Some(&'"') {
        return None; // A raw identifier.
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = start + hashes + 1;
    Some(until(chars, body, |chars, i| chars[i..].starts_with(&close), close.len()))
}

#[test]
fn comments_strings_and_characters_are_blanked_and_lines_kept() {
    let text =
        "a // b\nc /* d /* e */ f */ g \"h\\\"i\" j r#\"k\"l\"# m 'n' 'o\n'\\'' p b\"q\" br\"s\" r#t\n/* u";
    let blanked = blank(text);
    let words: Vec<&str> = blanked.split_whitespace().collect();
    assert_eq!(words, ["a", "c", "g", "j", "m", "'o", "p", "b", "r#t"]);
    assert_eq!(blanked.lines().count(), text.lines().count());
}

#[test]
fn product_lines_end_where_the_test_module_begins() {
    let source = Source::new("a/src/b.rs", "one\n#[cfg(test)]\nmod tests { two }\n");
    let lines: Vec<(usize, &str)> = source.product_lines().collect();
    assert_eq!(lines, [(1, "one")]);
}
