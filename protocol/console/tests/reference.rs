//! `docs/reference/errors.md` lists every code and every exit code as the program says them.

use console::code::{self, Exit};
use console::{Args, Language, Texts};
use std::path::Path;

fn page() -> String {
    let texts = Texts::new(Language::ENGLISH);
    let mut page = String::from(
        "# Error codes and exit codes\n\n\
         Made from `protocol/console/errors.toml` and the English texts; `UPDATE_REFERENCE=1 cargo test -p tapline-console \
         --test reference` writes it anew.\n\n\
         ## Exit codes\n\n| exit | meaning |\n|---|---|\n",
    );
    for exit in Exit::ALL {
        page.push_str(&format!("| {} | {} |\n", exit.number(), texts.say(exit.message())));
    }
    page.push_str("\n## Error codes\n\n| code | name | who has to act | exit | what happened | what to do |\n|---|---|---|---|---|---|\n");
    let mut codes = code::ALL.to_vec();
    codes.sort_by_key(ToString::to_string);
    for code in codes {
        let said = texts.explain(code, &Args::new());
        let (what, next) = (said.what.replace('|', "\\|"), said.next.replace('|', "\\|"));
        let (party, exit) = (code.party().name(), code.exit().number());
        page.push_str(&format!("| {code} | `{}` | {party} | {exit} | {what} | {next} |\n", code.message()));
    }
    page
}

#[test]
fn the_reference_page_lists_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/errors.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page(), "docs/reference/errors.md is out of date: run with UPDATE_REFERENCE=1");
}
