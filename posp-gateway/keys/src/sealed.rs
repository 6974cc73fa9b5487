//! The key file: keys at rest, encrypted and authenticated.
//!
//! `"TLKEYS" ‖ format 01 ‖ 00 ‖ nonce 16 ‖ AES-256-CTR(entries) ‖ CMAC 16 over everything before it` (encrypt, then MAC, with two keys
//! derived from the master key). The plain text is `count 4 ‖ entries`; an entry is `kind 1 ‖ length 1 ‖ bytes`. A file is replaced whole: written beside,
//! synced, renamed, and its folder synced, so that a crash leaves the old one or the new one.

use crate::{KeyError, MasterKey};
use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher};
use protocol::bytes::Reader;
use protocol::crypto::aes256_cmac;
use protocol::ids::{IssuerId, KeyVersion, TerminalId};
use protocol::purse::Algorithm;
use protocol::purse::keys::{KeyUse, PurseKey};
use protocol::secret::{Secret, macs_equal};
use std::io::{Read, Write};
use std::path::Path;
use zeroize::Zeroizing;

const MAGIC: [u8; 8] = *b"TLKEYS\x01\x00";
const NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// Largest key file we open.
const FILE_MAX: u64 = 16 << 20;
/// Most entries of a key file.
const ENTRIES_MAX: u32 = 200_000;

/// One key at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A master key of an issuer.
    Issuer {
        /// Whose.
        issuer: IssuerId,
        /// Version of its key set.
        version: KeyVersion,
        /// What for.
        usage: KeyUse,
        /// The key, with its suite.
        key: PurseKey,
    },
    /// A terminal's master key.
    Terminal {
        /// Whose.
        terminal: TerminalId,
        /// The key (AES-128).
        key: Secret<16>,
    },
    /// The key of PAN tokens.
    Token(Secret<32>),
    /// A P-256 key that signs the heads of the ledger's chain.
    Head {
        /// In whose name.
        acquirer: u64,
        /// The scalar, big-endian.
        key: Secret<32>,
    },
}

fn usage_byte(usage: KeyUse) -> u8 {
    let position = KeyUse::ALL.iter().position(|other| *other == usage);
    position.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

impl Entry {
    fn write(&self, out: &mut Vec<u8>) {
        let mut put = |kind: u8, parts: &[&[u8]]| {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            out.push(kind);
            out.push(u8::try_from(length).unwrap_or(u8::MAX));
            parts.iter().for_each(|part| out.extend_from_slice(part));
        };
        match self {
            Self::Issuer { issuer, version, usage, key } => {
                let suite = key.suite().algorithm().byte();
                put(1, &[&issuer.0, &[version.0, suite, usage_byte(*usage)], key.expose()]);
            }
            Self::Terminal { terminal, key } => put(2, &[&terminal.to_bytes(), key.expose()]),
            Self::Token(key) => put(3, &[key.expose()]),
            Self::Head { acquirer, key } => put(4, &[&acquirer.to_be_bytes(), key.expose()]),
        }
    }

    fn read(kind: u8, bytes: &[u8]) -> Result<Self, KeyError> {
        let bad = KeyError::NotAKeyFile("an entry is malformed");
        let mut reader = Reader::new(bytes);
        let mut parse = || -> Option<Self> {
            let entry = match kind {
                1 => {
                    let issuer = IssuerId(reader.array().ok()?);
                    let version = KeyVersion(reader.u8().ok()?);
                    let suite = Algorithm::from_byte(reader.u8().ok()?).ok()?.suite();
                    let usage = *KeyUse::ALL.get(usize::from(reader.u8().ok()?))?;
                    let key = PurseKey::new(suite, Secret::new(reader.array().ok()?));
                    Self::Issuer { issuer, version, usage, key }
                }
                2 => Self::Terminal {
                    terminal: TerminalId::from_bytes(reader.array().ok()?)?,
                    key: Secret::new(reader.array().ok()?),
                },
                3 => Self::Token(Secret::new(reader.array().ok()?)),
                4 => {
                    let acquirer = reader.u64().ok()?;
                    Self::Head { acquirer, key: Secret::new(reader.array().ok()?) }
                }
                _ => return None,
            };
            reader.is_empty().then_some(entry)
        };
        parse().ok_or(bad)
    }
}

fn ciphers(master: &MasterKey) -> (Secret<32>, Secret<32>) {
    (master.derive(b"tapline-keys-enc"), master.derive(b"tapline-keys-mac"))
}

fn apply_keystream(key: &Secret<32>, nonce: &[u8; NONCE_BYTES], data: &mut [u8]) {
    let mut cipher = ctr::Ctr128BE::<Aes256>::new(key.expose().into(), nonce.into());
    cipher.apply_keystream(data);
}

/// Encrypts entries into the bytes of a key file.
pub(crate) fn seal(master: &MasterKey, nonce: [u8; NONCE_BYTES], entries: &[Entry]) -> Vec<u8> {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    // Reserved in full, so that no growing buffer leaves plain text behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(entries.len().saturating_mul(64).saturating_add(4)));
    plain.extend_from_slice(&count.to_be_bytes());
    entries.iter().for_each(|entry| entry.write(&mut plain));
    let (encryption, authentication) = ciphers(master);
    apply_keystream(&encryption, &nonce, &mut plain);
    let mut file = Vec::with_capacity(plain.len().saturating_add(64));
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&nonce);
    file.extend_from_slice(&plain);
    let tag = aes256_cmac(authentication.expose(), &[&file]);
    file.extend_from_slice(&tag);
    file
}

/// Decrypts the bytes of a key file.
pub(crate) fn open(master: &MasterKey, file: &[u8]) -> Result<Vec<Entry>, KeyError> {
    let short = KeyError::NotAKeyFile("it is too short");
    if !file.starts_with(&MAGIC) {
        let why = if file.starts_with(b"TLKEYS") { "a newer format" } else { "another kind of file" };
        return Err(KeyError::NotAKeyFile(why));
    }
    let body_end = file.len().checked_sub(TAG_BYTES).ok_or(short.clone())?;
    let (body, tag) = file.split_at_checked(body_end).ok_or(short.clone())?;
    let (encryption, authentication) = ciphers(master);
    if !macs_equal(&aes256_cmac(authentication.expose(), &[body]), tag) {
        return Err(KeyError::WrongMasterKey);
    }
    let sealed = body.get(MAGIC.len()..).ok_or(short.clone())?;
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(short.clone())?;
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    apply_keystream(&encryption, nonce, &mut plain);
    let mut reader = Reader::new(&plain);
    let count = reader.u32().map_err(|_| short.clone())?;
    if count > ENTRIES_MAX {
        return Err(KeyError::NotAKeyFile("too many entries"));
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        let kind = reader.u8().map_err(|_| short.clone())?;
        let length = reader.u8().map_err(|_| short.clone())?;
        let bytes = reader.take(usize::from(length)).map_err(|_| short.clone())?;
        entries.push(Entry::read(kind, bytes)?);
    }
    reader.finish().map_err(|_| KeyError::NotAKeyFile("bytes after the last entry"))?;
    Ok(entries)
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> KeyError {
    move |error| KeyError::Io { what, why: error.to_string() }
}

/// Reads a key file; `None` if there is none.
pub(crate) fn load(master: &MasterKey, path: &Path) -> Result<Option<Vec<Entry>>, KeyError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("opening the key file")(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).map_err(io("reading the key file"))?;
    open(master, &bytes).map(Some)
}

/// Replaces a key file, wholly or not at all.
pub(crate) fn store(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let beside = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside).map_err(io("writing the key file"))?;
    file.write_all(bytes).map_err(io("writing the key file"))?;
    file.sync_all().map_err(io("syncing the key file"))?;
    std::fs::rename(&beside, path).map_err(io("replacing the key file"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::fs::File::open(folder).map_err(io("opening the key file's folder"))?;
    folder.sync_all().map_err(io("syncing the key file's folder"))
}
