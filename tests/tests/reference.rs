//! The reference pages that are made from code are what the code says (`UPDATE_REFERENCE=1` writes them anew).
#![cfg(test)]

use protocol::apdu::StatusWord;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEAD: &str = "# Status words\n\n\
    Made from `protocol/src/apdu.rs`; `UPDATE_REFERENCE=1 cargo test -p tests --test reference` writes it anew.\n\
    ISO/IEC 7816-4, and 93xx and 94xx of the purse ([purse.md](purse.md), section 1).\n\n\
    | status word | meaning |\n|---|---|\n";
/// Those whose second byte is a number, with one that stands for all.
const FAMILIES: [(&str, u16); 3] = [("61xx", 0x6110), ("63Cx", 0x63C3), ("6Cxx", 0x6C10)];

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name)
}

#[test]
fn the_page_of_status_words_is_what_the_code_says() {
    let mut rows: Vec<(String, &str)> =
        StatusWord::NAMED.iter().map(|sw| (format!("{:04X}", sw.0), sw.meaning())).collect();
    rows.extend(FAMILIES.iter().map(|(name, sw)| ((*name).to_owned(), StatusWord(*sw).meaning())));
    rows.sort();
    let mut text = HEAD.to_owned();
    for (sw, meaning) in rows {
        writeln!(text, "| {sw} | {meaning} |").expect("text grows");
    }
    let path = page("status-words.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, &text).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, text, "run UPDATE_REFERENCE=1 cargo test -p tests --test reference");
}
