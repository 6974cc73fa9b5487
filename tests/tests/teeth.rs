//! The deliberate bugs (`protocol::teeth`) stay where they belong: in no program as built, all of them in the build that `scripts/teeth`
//! makes, and each in the table of docs/reliability.md. That each is found by the simulation is `scripts/teeth hunt`, which
//! the same suite of `make test` runs.
#![cfg(test)]

use protocol::teeth::{SHARP, Tooth};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a build with deliberate bugs contains; said here once more, since no other build knows it.
const MARKER: &[u8] = b"tapline_teeth: this build makes mistakes on purpose";
/// The programs that people are given.
const PROGRAMS: [&str; 3] = ["terminal", "posp-gateway", "card-applet-sim"];

fn contains_marker(program: &Path) -> bool {
    let bytes = fs::read(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    bytes.windows(MARKER.len()).any(|window| window == MARKER)
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above tests/").to_path_buf()
}

/// The simulation with deliberate bugs; its build is a matter of a second if the suite has made it.
fn simulation_with_teeth() -> PathBuf {
    let built =
        Command::new(workspace().join("scripts/teeth")).arg("build").output().expect("scripts/teeth runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    workspace().join(String::from_utf8_lossy(&built.stdout).trim())
}

#[test]
fn no_program_as_built_contains_a_deliberate_bug() {
    const { assert!(!SHARP, "this test is for the usual build") };
    let simulation = Path::new(env!("CARGO_BIN_EXE_sim"));
    let folder = simulation.parent().expect("programs are in a folder");
    for program in PROGRAMS {
        let path = folder.join(program);
        assert!(path.exists(), "{program} is not built: cargo build --workspace --bins comes first");
        assert!(!contains_marker(&path), "{} makes mistakes on purpose", path.display());
    }
    assert!(!contains_marker(simulation));
}

#[test]
fn the_build_with_deliberate_bugs_can_be_told_by_its_marker() {
    let simulation = simulation_with_teeth();
    assert!(contains_marker(&simulation), "the marker in {} is another one", simulation.display());
}

#[test]
fn a_bug_is_found_with_its_tooth_and_its_history_is_fine_without() {
    let simulation = simulation_with_teeth();
    let play = |arguments: &[&str]| Command::new(&simulation).args(arguments).output().expect("it runs");
    let with = play(&["--tooth", "reuse-term-seq", "0"]);
    let story = String::from_utf8_lossy(&with.stdout);
    assert!(!with.status.success() && story.contains("again"), "{story}");
    let without = play(&["0"]);
    assert!(without.status.success(), "{}", String::from_utf8_lossy(&without.stdout));
}

#[test]
fn the_usual_simulation_cannot_be_asked_for_a_deliberate_bug() {
    let usual = Command::new(env!("CARGO_BIN_EXE_sim")).args(["--tooth", "skip-mac2", "0"]).output();
    assert_eq!(usual.expect("it runs").status.code(), Some(2));
}

#[test]
fn the_table_of_deliberate_bugs_names_all_of_them_and_where_they_are() {
    let page = fs::read_to_string(workspace().join("docs/reliability.md")).expect("the page");
    for tooth in Tooth::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", tooth.name())));
        let row = row.unwrap_or_else(|| panic!("docs/reliability.md has no row for {}", tooth.name()));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, _, place, rule, taps, _] = cells.as_slice() else { panic!("not five cells: {row}") };
        let place = place.trim_matches('`');
        let source = fs::read_to_string(workspace().join(place)).unwrap_or_else(|_| panic!("{place}: {row}"));
        assert!(source.contains(&format!("bites(Tooth::{tooth:?})")), "{place} does not have {tooth:?}");
        assert!(!rule.is_empty() && !taps.is_empty(), "{row}");
    }
}
