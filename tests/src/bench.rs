//! Measurements: rows of one table, printed for people and kept as JSON in `target/bench/bench.json`.
//!
//! A row is measured by a function in a module below, listed in [`MEASURES`]; it measures its peer in the same run where
//! there is one. Nothing here asserts a time.

mod apdu;
mod audit;
pub mod codec;
mod durable;
mod host;
mod ledger;
mod sampling;
mod shared;
mod tac;
mod tap;

pub use sampling::{Sampling, rate};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Argument of the second process of a measure that runs in namespaces of its own; the measure's id follows.
pub const INSIDE_ARGUMENT: &str = "--inside";

/// A unit of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Operations a second.
    #[serde(rename = "ops/s")]
    PerSecond,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
}

/// One measured value, in the shape of the JSON file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its id, as `make bench ROWS="…"` takes it.
    pub id: String,
    /// What was done.
    pub work: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// Which percentile of a distribution it is.
    pub percentile: Option<u8>,
    /// What it is compared with, measured in the same run.
    pub peer: Option<String>,
    /// The peer's value, in the same unit.
    pub peer_value: Option<f64>,
    /// Value over the peer's value.
    pub ratio: Option<f64>,
}

impl Row {
    /// A row without a peer.
    #[must_use]
    pub fn new(id: &str, work: &str, value: f64, unit: Unit) -> Self {
        Self {
            id: id.to_owned(),
            work: work.to_owned(),
            value,
            unit,
            percentile: None,
            peer: None,
            peer_value: None,
            ratio: None,
        }
    }

    /// The row is this percentile of a distribution.
    #[must_use]
    pub fn at(self, percentile: u8) -> Self {
        Self { percentile: Some(percentile), ..self }
    }

    /// The row beside a peer.
    #[must_use]
    pub fn beside(self, peer: &str, peer_value: f64) -> Self {
        let ratio = Some(self.value / peer_value);
        Self { peer: Some(peer.to_owned()), peer_value: Some(peer_value), ratio, ..self }
    }
}

/// Measures one id's rows.
pub type Measure = fn() -> anyhow::Result<Vec<Row>>;

/// Every measure: the id that chooses it, and the function. An id chooses all rows that begin with it.
pub const MEASURES: &[(&str, Measure)] = &[
    ("B1", codec::measure),
    ("B2", host::echoes),
    ("B3/durable", durable::usual),
    ("B3/engine", ledger::measure),
    ("B3/open", durable::open_loop),
    ("B3/5M", durable::large),
    ("B4", shared::measure),
    ("B4/audit", audit::measure),
    ("B5", tap::measure_software),
    ("B6/tap", tap::measure),
    ("B6/apdu", apdu::measure),
    ("B8", tac::measure),
];

/// The measures that run in a second process in namespaces, by the same ids.
pub const MEASURES_INSIDE: &[(&str, Measure)] =
    &[("B6/apdu", apdu::measure_inside), ("B6/tap", tap::measure_inside)];

/// The value below which `percentile` per cent of the samples lie; zero without samples. Sorts them.
#[must_use]
pub fn percentile(samples: &mut [Duration], percentile: u8) -> Duration {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    samples.get(last * usize::from(percentile.min(100)) / 100).copied().unwrap_or_default()
}

/// Runs the chosen measures (all, without a choice) and returns their rows.
///
/// # Errors
/// An id that chooses nothing, or a measure that failed.
pub fn run(chosen: &[String]) -> anyhow::Result<Vec<Row>> {
    for id in chosen {
        let known: Vec<&str> = MEASURES.iter().map(|(known, _)| *known).collect();
        anyhow::ensure!(
            known.iter().any(|known| fits(known, id)),
            "no row {id}; there are {}",
            known.join(", ")
        );
    }
    let mut rows = Vec::new();
    for (id, measure) in MEASURES {
        if chosen.is_empty() || chosen.iter().any(|wanted| fits(id, wanted)) {
            eprintln!("measuring {id} …");
            rows.extend(measure()?);
        }
    }
    Ok(rows)
}

/// `B6` chooses `B6` and `B6/apdu`, not `B60`.
fn fits(id: &str, wanted: &str) -> bool {
    id.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The rows as a table for people.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<18} {:>14} {:<6} {:>4} {:>9}  work\n", "row", "value", "unit", "pct", "ratio");
    for row in rows {
        let unit = serde_json::to_value(row.unit).ok().and_then(|unit| Some(unit.as_str()?.to_owned()));
        let percentile = row.percentile.map_or(String::new(), |percentile| format!("p{percentile}"));
        let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.4}"));
        let peer = row.peer.as_deref().zip(row.peer_value);
        let peer = peer.map_or(String::new(), |(peer, value)| format!(" (beside {peer}: {value:.3})"));
        text.push_str(&format!(
            "{:<18} {:>14.3} {:<6} {percentile:>4} {ratio:>9}  {}{peer}\n",
            row.id,
            row.value,
            unit.unwrap_or_default(),
            row.work,
        ));
    }
    text
}

/// Puts the rows into `target/bench/bench.json`: rows of the same id and percentile are replaced, others kept.
///
/// # Errors
/// The file cannot be read or written.
pub fn save(rows: &[Row]) -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("bench.json");
    let old = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Vec<Row>>(&text).ok());
    let all = merged(old.unwrap_or_default(), rows);
    std::fs::write(&path, serde_json::to_vec_pretty(&all)?)?;
    Ok(path)
}

fn merged(old: Vec<Row>, new: &[Row]) -> Vec<Row> {
    let same = |a: &Row, b: &Row| a.id == b.id && a.percentile == b.percentile;
    let kept = old.into_iter().filter(|old| !new.iter().any(|new| same(old, new)));
    let mut all: Vec<Row> = kept.chain(new.iter().cloned()).collect();
    all.sort_by(|a, b| (&a.id, a.percentile).cmp(&(&b.id, b.percentile)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples: Vec<Duration> = (1..=101).rev().map(Duration::from_micros).collect();
        assert_eq!(percentile(&mut samples, 50), Duration::from_micros(51));
        assert_eq!(percentile(&mut samples, 99), Duration::from_micros(100));
        assert_eq!(percentile(&mut samples, 100), Duration::from_micros(101));
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }

    #[test]
    fn an_id_chooses_itself_and_its_variants() {
        assert!(fits("B6/apdu", "B6") && fits("B6", "B6") && fits("B6/apdu", "B6/apdu"));
        assert!(!fits("B60", "B6") && !fits("B6", "B6/apdu"));
        assert!(run(&["B99".to_owned()]).unwrap_err().to_string().starts_with("no row B99"));
    }

    #[test]
    fn a_new_value_replaces_the_old_one_and_keeps_the_others() {
        let row = |id: &str, value| Row::new(id, "work", value, Unit::Millis);
        let all = merged(
            vec![row("B2", 1.0), row("B1", 1.0).at(50), row("B1", 1.0).at(99)],
            &[row("B1", 2.0).at(50)],
        );
        let values: Vec<_> = all.iter().map(|row| (row.id.as_str(), row.percentile, row.value)).collect();
        assert_eq!(values, [("B1", Some(50), 2.0), ("B1", Some(99), 1.0), ("B2", None, 1.0)]);
    }

    #[test]
    fn the_json_has_the_documented_fields() {
        let row = Row::new("B6/apdu", "work", 1.0, Unit::Micros).at(50).beside("peer", 4.0);
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"id":"B6/apdu","work":"work","value":1.0,"unit":"us","percentile":50,"peer":"peer","peer_value":4.0,"ratio":0.25}"#
        );
    }
}
