//! TR-31 version D: published blocks open to the published keys and wrap to the same characters; bad ones are refused.

mod common;

use common::{hex, load, records, text};
use protocol::aes_key::AesKey;
use protocol::crypto::tdes_encrypt;
use protocol::keyblock::{KeyBlockError, unwrap, wrap};

#[test]
fn published_blocks_open_and_wrap_again() {
    let file = load("vectors/tr31_version_d.json");
    for record in records(&file, "records") {
        let id = text(record, "id");
        let kbpk = AesKey::from_bytes(&hex(record, "kbpk")).unwrap();
        let block = text(record, "key_block").as_bytes();
        let (header, key) = unwrap(&kbpk, block).unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(key.expose(), hex(&record["expected"], "key"), "{id}");

        let listed = &record["header"];
        let usage = format!("{:?}", header.usage);
        assert_eq!(
            usage,
            format!(
                "{}/{}/{}",
                text(listed, "key_usage"),
                text(listed, "algorithm"),
                text(listed, "mode_of_use")
            )
        );
        assert_eq!(header.version.0, text(listed, "key_version").as_bytes());
        let optional: Vec<_> = header.optional.iter().collect();
        let expected: Vec<_> = listed["optional_blocks"].as_array().unwrap().iter().collect();
        assert_eq!(optional.len(), expected.len(), "{id}");
        for ((name, data), block) in optional.iter().zip(expected) {
            assert_eq!(
                (&name[..], *data),
                (text(block, "id").as_bytes(), text(block, "data").as_bytes()),
                "{id}"
            );
        }

        let mut out = [0; 256];
        let length = wrap(&kbpk, &header, key.expose(), &hex(record, "padding"), &mut out).unwrap();
        assert_eq!(&out[..length], block, "{id}");

        if let Some(kcv) = record["expected"]["kcv"].as_str() {
            let value = if text(listed, "algorithm") == "A" {
                AesKey::from_bytes(key.expose()).unwrap().check_value().to_vec()
            } else {
                tdes_encrypt(key.to_secret().unwrap().expose(), [0; 8]).to_vec()
            };
            assert_eq!(protocol::hex::Hex(&value[..kcv.len() / 2]).to_string(), kcv, "{id}");
        }
    }
}

#[test]
fn bad_blocks_are_refused_with_a_reason() {
    use KeyBlockError::{Key, KeyForm, Length, Mac, MacForm};
    let file = load("vectors/tr31_version_d.json");
    let reasons = [Length, MacForm, MacForm, KeyForm, KeyForm, Mac, Mac, Key, Key];
    for (record, reason) in records(&file, "invalid").iter().zip(reasons) {
        let id = text(record, "id");
        let opened = AesKey::from_bytes(&hex(record, "kbpk")).map_err(KeyBlockError::from);
        let opened = opened.and_then(|kbpk| unwrap(&kbpk, text(record, "key_block").as_bytes()).map(|_| ()));
        match opened {
            Err(KeyBlockError::Kbpk(length)) => assert_eq!((id, length.0), ("psec-invalid-7", 19)),
            refused => assert_eq!(refused, Err(reason), "{id}"),
        }
    }
}
