//! Published vectors and frames, as the conformance tests read them (`tests/vectors`, `tests/frames`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use serde_json::Value;

/// A file under `tests/`, as JSON.
pub(crate) fn load(path: &str) -> Value {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(path);
    serde_json::from_slice(&std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
        .unwrap()
}

/// The records of a list of a file.
pub(crate) fn records<'v>(file: &'v Value, list: &str) -> &'v [Value] {
    let records = file[list].as_array().unwrap();
    assert!(!records.is_empty(), "no {list}");
    records
}

/// A text member of a record.
pub(crate) fn text<'v>(record: &'v Value, member: &str) -> &'v str {
    record[member].as_str().unwrap_or_else(|| panic!("{member} of {record}"))
}

/// Hexadecimal text as bytes.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut out = vec![0; text.len() / 2];
    protocol::hex::decode_into(text, &mut out).unwrap();
    out
}

/// A hexadecimal member of a record.
pub(crate) fn hex(record: &Value, member: &str) -> Vec<u8> {
    bytes(text(record, member))
}
