//! `provision`: the acquirer's file, its one-time code, and what stays when either is wrong.

use crate::fakes::{Purse, SamManner};
use crate::gateway::TMK;
use crate::till::{Said, Till, no_readers};
use console::Exit;
use protocol::ids::TerminalId;
use protocol::keyblock::{Header, Usage, padding_for, wrap};
use protocol::secret::Secret;
use protocol::signin::OneTimeCode;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

fn code() -> OneTimeCode {
    OneTimeCode::new(Secret::new([0x5A; 16]))
}

/// A provisioning file for the terminal `id`, with its key under [`code`].
pub(crate) fn file_for(till: &Till, id: &str, usage: Usage) -> PathBuf {
    let terminal = TerminalId::from_text(id).unwrap();
    let mut block = [0; 112];
    wrap(&code().protection_key(&terminal), &Header::new(usage), &TMK, &[9; padding_for(16)], &mut block)
        .unwrap();
    let block = std::str::from_utf8(&block).unwrap();
    let text = format!(
        "format = 1\ngateway = \"gateway.example:8583\"\nterminal = \"{id}\"\nmerchant = \"M00000000000001\"\n\
         acquirer = 1\nbatch = 3\nmerchant_name = \"Corner Shop\"\ncurrency = \"CNY\"\ntmk_block = \"{block}\"\n"
    );
    let path = till.config().with_file_name(format!("{id}.toml"));
    fs::write(&path, text).unwrap();
    path
}

fn provision(till: &mut Till, path: &std::path::Path, code: &str, more: &[&str]) -> Said {
    till.environment.insert("TAPLINE_CODE".into(), code.into());
    let args: Vec<&str> = ["provision", path.to_str().unwrap()].iter().chain(more).copied().collect();
    let said = till.run(&args, no_readers());
    till.environment.remove("TAPLINE_CODE");
    said
}

/// A till with its key.
pub(crate) fn provisioned() -> Till {
    let mut till = Till::new();
    till.configure("reply_s = 20", "reply_s = 2");
    let path = file_for(&till, "T0000001", Usage::TMK);
    let said = provision(&mut till, &path, code().reveal().as_str(), &[]);
    assert_eq!(said.exit, Exit::Success, "{}{}", said.out, said.err);
    till
}

fn key_file(till: &Till) -> PathBuf {
    till.config().with_file_name("acquirer.key")
}

#[test]
fn the_key_is_kept_for_its_owner_alone_and_shown_to_nobody() {
    let till = provisioned();
    let bytes = fs::read(key_file(&till)).unwrap();
    assert_eq!(fs::metadata(key_file(&till)).unwrap().mode() & 0o777, 0o600);
    assert!(bytes.starts_with(b"TLID") && bytes.windows(16).any(|window| window == TMK));
    assert!(!key_file(&till).with_file_name("acquirer.key.new").exists());

    fs::set_permissions(key_file(&till), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let said = till.run(&["upload"], no_readers());
    assert_eq!((said.exit, said.err.contains("TL-1609")), (Exit::Config, true), "{}", said.err);

    fs::set_permissions(key_file(&till), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(key_file(&till), damaged).unwrap();
        let said = till.run(&["upload"], no_readers());
        assert_eq!(
            (said.exit, said.err.contains("TL-1610")),
            (Exit::Storage, true),
            "byte {at}: {}",
            said.err
        );
    }
}

#[test]
fn a_wrong_code_or_a_typing_mistake_changes_nothing_and_never_appears() {
    let mut till = Till::new();
    let path = file_for(&till, "T0000001", Usage::TMK);
    let other = OneTimeCode::new(Secret::new([1; 16]));
    let said = provision(&mut till, &path, other.reveal().as_str(), &[]);
    assert_eq!((said.exit, said.err.contains("TL-1608")), (Exit::Config, true), "{}", said.err);
    let typed = code().reveal().as_str().replace('B', "C").replacen('5', "6", 1);
    let said = provision(&mut till, &path, &typed, &[]);
    assert_eq!((said.exit, said.err.contains("TL-1607")), (Exit::Usage, true), "{}", said.err);
    assert!(!said.err.contains(&typed));
    assert!(!key_file(&till).exists());
    // A MAC key in the place of a master key.
    let path = file_for(&till, "T0000001", Usage::MAC);
    let said = provision(&mut till, &path, code().reveal().as_str(), &[]);
    assert_eq!((said.exit, said.err.contains("TL-1608")), (Exit::Config, true), "{}", said.err);
}

#[test]
fn files_of_another_version_or_with_other_keys_are_refused_with_their_line() {
    let mut till = Till::new();
    let path = file_for(&till, "T0000001", Usage::TMK);
    let good = fs::read_to_string(&path).unwrap();
    let shown = code().reveal().as_str().to_owned();
    let mut told = |text: String| {
        fs::write(&path, text).unwrap();
        let said = provision(&mut till, &path, &shown, &[]);
        assert_eq!(said.exit, Exit::Config, "{}", said.err);
        said.err
    };
    let newer = told(good.replace("format = 1", "format = 2\nnew_key = true"));
    assert!(newer.contains("TL-1606") && newer.contains("version 2"), "{newer}");
    let unknown = told(good.replace("acquirer = 1", "acquirer = 1\nacquirer_name = \"x\""));
    assert!(unknown.contains("line 6") || unknown.contains(":6:"), "{unknown}");
    let missing = told(good.replace("batch = 3\n", ""));
    assert!(missing.contains("batch"), "{missing}");
    let wrong = told(good.replace("gateway.example:8583", "gateway.example"));
    assert!(wrong.contains("host:port"), "{wrong}");
    let other = told(good.replace("M00000000000001", "M00000000000002"));
    assert!(other.contains("TL-1613"), "{other}");
}

#[test]
fn another_identity_gives_way_only_when_asked_to_and_when_nothing_waits() {
    let mut till = provisioned();
    // The same file again (a renewed key) needs no permission.
    let same = file_for(&till, "T0000001", Usage::TMK);
    let shown = code().reveal().as_str().to_owned();
    assert_eq!(provision(&mut till, &same, &shown, &[]).exit, Exit::Success);

    till.tap(&["sale", "12.50"], &Purse::new(10_000), SamManner::Good);
    till.configure("id = \"T0000001\"", "id = \"T0000002\"");
    let other = file_for(&till, "T0000002", Usage::TMK);
    let said = provision(&mut till, &other, &shown, &[]);
    assert!(said.err.contains("TL-1612") && said.err.contains("T0000001"), "{}", said.err);
    let said = provision(&mut till, &other, &shown, &["--replace"]);
    assert!(said.err.contains("TL-1614"), "a payment waits for the other acquirer: {}", said.err);
    assert!(fs::read(key_file(&till)).unwrap().windows(8).any(|window| window == b"T0000001"));

    let mut till = provisioned();
    till.configure("id = \"T0000001\"", "id = \"T0000002\"");
    let other = file_for(&till, "T0000002", Usage::TMK);
    let said = provision(&mut till, &other, &shown, &["--replace"]);
    assert_eq!(said.exit, Exit::Success, "{}", said.err);
}

#[test]
fn what_needs_the_gateway_says_so_before_anything_is_touched() {
    let till = Till::new();
    for args in [&["upload"][..], &["settle"], &["topup", "5"]] {
        let said = till.run(args, no_readers());
        assert_eq!((said.exit, said.err.contains("TL-1611")), (Exit::Config, true), "{}", said.err);
    }
}
