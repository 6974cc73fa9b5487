//! The working keys of a sign-in, field 62 (`docs/posp.md` section 4): keys for MAC, PIN and data, under the terminal
//! master key, each with its check value.
//!
//! `aes`: three TR-31 D blocks of 112 characters, each followed by 5 bytes of check value. `unionpay`: 3DES-ECB, check
//! values of 4 bytes; the management code says how long the keys are.

use crate::aes_key::AesKey;
use crate::bytes::{BytesError, Reader, Writer};
use crate::des_key::DesKey;
use crate::iso8583::typed::ManagementCode;
use crate::keyblock::{Header, KeyBlockError, Usage, padding_for, unwrap_for, wrap};
use crate::secret::{Secret, macs_equal};

/// Characters of one key block of the `aes` dialect.
pub const BLOCK_CHARS: usize = 112;
/// Random bytes that pad one key block.
pub const PADDING_BYTES: usize = padding_for(16);
/// Bytes of field 62 in the `aes` dialect.
pub const AES_FIELD_BYTES: usize = 3 * (BLOCK_CHARS + 5);
/// Most bytes of field 62 in the `unionpay` dialect.
pub const UNIONPAY_FIELD_BYTES: usize = 60;

/// Why a terminal does not take the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkingKeyError {
    /// The field has another length than its keys.
    #[error("key field: {0}")]
    Layout(#[from] BytesError),
    /// A key block does not open.
    #[error("{0} key: {1}")]
    Block(&'static str, KeyBlockError),
    /// A check value does not fit its key: wrong terminal master key.
    #[error("{0} key: check value does not match")]
    CheckValue(&'static str),
    /// The filler behind a single-length MAC key is not zero.
    #[error("MAC key: filler is not zero")]
    Filler,
    /// A management code that is no sign-in.
    #[error("not a sign-in")]
    NotSignIn,
    /// Keys of other lengths than the management code says.
    #[error("keys do not have the lengths of this sign-in")]
    Lengths,
}

/// Working keys of the `aes` dialect, all AES-128.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AesWorkingKeys {
    /// For the MAC of messages.
    pub mac: Secret<16>,
    /// For PIN blocks.
    pub pin: Secret<16>,
    /// For data.
    pub data: Secret<16>,
}

impl AesWorkingKeys {
    /// Opens field 62 under the terminal master key: uses are enforced, check values compared.
    ///
    /// # Errors
    /// See [`WorkingKeyError`].
    pub fn open(tmk: &AesKey, field: &[u8]) -> Result<Self, WorkingKeyError> {
        let mut reader = Reader::new(field);
        let keys = Self {
            mac: open_aes("MAC", tmk, Usage::MAC, &mut reader)?,
            pin: open_aes("PIN", tmk, Usage::PIN, &mut reader)?,
            data: open_aes("data", tmk, Usage::DATA, &mut reader)?,
        };
        reader.finish()?;
        Ok(keys)
    }

    /// Writes field 62 and returns its length. `padding` is random.
    ///
    /// # Errors
    /// `out` is too small.
    pub fn seal(
        &self,
        tmk: &AesKey,
        padding: &[[u8; PADDING_BYTES]; 3],
        out: &mut [u8],
    ) -> Result<usize, WorkingKeyError> {
        let mut writer = Writer::new(out);
        let [mac, pin, data] = padding;
        seal_aes("MAC", tmk, Usage::MAC, &self.mac, mac, &mut writer)?;
        seal_aes("PIN", tmk, Usage::PIN, &self.pin, pin, &mut writer)?;
        seal_aes("data", tmk, Usage::DATA, &self.data, data, &mut writer)?;
        Ok(writer.len())
    }
}

fn open_aes(
    name: &'static str,
    tmk: &AesKey,
    usage: Usage,
    reader: &mut Reader<'_>,
) -> Result<Secret<16>, WorkingKeyError> {
    let block = reader.take(BLOCK_CHARS)?;
    let check: [u8; 5] = reader.array()?;
    let refused = |error| WorkingKeyError::Block(name, error);
    let key: Secret<16> = unwrap_for(tmk, usage, block).and_then(|key| key.to_secret()).map_err(refused)?;
    if macs_equal(&AesKey::Aes128(key.clone()).check_value(), &check) {
        Ok(key)
    } else {
        Err(WorkingKeyError::CheckValue(name))
    }
}

fn seal_aes(
    name: &'static str,
    tmk: &AesKey,
    usage: Usage,
    key: &Secret<16>,
    padding: &[u8],
    writer: &mut Writer<'_>,
) -> Result<(), WorkingKeyError> {
    let mut block = [0; BLOCK_CHARS];
    let length = wrap(tmk, &Header::new(usage), key.expose(), padding, &mut block);
    let length = length.map_err(|error| WorkingKeyError::Block(name, error))?;
    writer.put(block.get(..length).unwrap_or_default())?;
    writer.put(&AesKey::Aes128(key.clone()).check_value())?;
    Ok(())
}

/// Working keys of the `unionpay` dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnionPayWorkingKeys {
    /// For PIN blocks: single length with 60.3 = 001, double length with 003 and 004.
    pub pin: DesKey,
    /// For the MAC of messages.
    pub mac: Secret<8>,
    /// For track data, with 60.3 = 004.
    pub data: Option<Secret<16>>,
}

impl UnionPayWorkingKeys {
    /// Opens field 62 under the terminal master key: check values are compared.
    ///
    /// # Errors
    /// See [`WorkingKeyError`].
    pub fn open(tmk: &Secret<16>, code: ManagementCode, field: &[u8]) -> Result<Self, WorkingKeyError> {
        let tmk = DesKey::Double(tmk.clone());
        let mut reader = Reader::new(field);
        let keys = match code {
            ManagementCode::SIGN_IN => Self {
                pin: open_des("PIN", &tmk, false, &mut reader)?,
                mac: open_mac(&tmk, false, &mut reader)?,
                data: None,
            },
            ManagementCode::SIGN_IN_DOUBLE | ManagementCode::SIGN_IN_DATA => {
                let pin = open_des("PIN", &tmk, true, &mut reader)?;
                let mac = open_mac(&tmk, true, &mut reader)?;
                let data = match code {
                    ManagementCode::SIGN_IN_DATA => match open_des("data", &tmk, true, &mut reader)? {
                        DesKey::Double(key) => Some(key),
                        DesKey::Single(_) => None,
                    },
                    _ => None,
                };
                Self { pin, mac, data }
            }
            _ => return Err(WorkingKeyError::NotSignIn),
        };
        reader.finish()?;
        Ok(keys)
    }

    /// Writes field 62 and returns its length.
    ///
    /// # Errors
    /// `out` is too small, or the keys are not those of this sign-in.
    pub fn seal(
        &self,
        tmk: &Secret<16>,
        code: ManagementCode,
        out: &mut [u8],
    ) -> Result<usize, WorkingKeyError> {
        let tmk = DesKey::Double(tmk.clone());
        let mut writer = Writer::new(out);
        let double = match (code, &self.pin, &self.data) {
            (ManagementCode::SIGN_IN, DesKey::Single(_), None) => false,
            (ManagementCode::SIGN_IN_DOUBLE, DesKey::Double(_), None)
            | (ManagementCode::SIGN_IN_DATA, DesKey::Double(_), Some(_)) => true,
            (ManagementCode::SIGN_IN | ManagementCode::SIGN_IN_DOUBLE | ManagementCode::SIGN_IN_DATA, ..) => {
                return Err(WorkingKeyError::Lengths);
            }
            _ => return Err(WorkingKeyError::NotSignIn),
        };
        seal_des(&tmk, &self.pin, 0, &mut writer)?;
        seal_des(&tmk, &DesKey::Single(self.mac.clone()), if double { 8 } else { 0 }, &mut writer)?;
        if let Some(data) = &self.data {
            seal_des(&tmk, &DesKey::Double(data.clone()), 0, &mut writer)?;
        }
        Ok(writer.len())
    }
}

fn checked(name: &'static str, key: DesKey, reader: &mut Reader<'_>) -> Result<DesKey, WorkingKeyError> {
    let check: [u8; 4] = reader.array()?;
    if macs_equal(&key.check_value(), &check) { Ok(key) } else { Err(WorkingKeyError::CheckValue(name)) }
}

fn open_des(
    name: &'static str,
    tmk: &DesKey,
    double: bool,
    reader: &mut Reader<'_>,
) -> Result<DesKey, WorkingKeyError> {
    let first = tmk.decrypt(reader.array()?);
    let key = if double {
        let [a, b, c, d, e, f, g, h] = first;
        let [i, j, k, l, m, n, o, p] = tmk.decrypt(reader.array()?);
        DesKey::Double(Secret::new([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]))
    } else {
        DesKey::Single(Secret::new(first))
    };
    checked(name, key, reader)
}

fn open_mac(tmk: &DesKey, filled: bool, reader: &mut Reader<'_>) -> Result<Secret<8>, WorkingKeyError> {
    let key = Secret::new(tmk.decrypt(reader.array()?));
    if filled && reader.array()? != [0; 8] {
        return Err(WorkingKeyError::Filler);
    }
    checked("MAC", DesKey::Single(key.clone()), reader)?;
    Ok(key)
}

fn seal_des(
    tmk: &DesKey,
    key: &DesKey,
    zeros: usize,
    writer: &mut Writer<'_>,
) -> Result<(), WorkingKeyError> {
    for half in key.expose().as_chunks::<8>().0 {
        writer.put(&tmk.encrypt(*half))?;
    }
    for _ in 0..zeros {
        writer.u8(0)?;
    }
    writer.put(&key.check_value())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tmk() -> AesKey {
        AesKey::Aes256(Secret::new([0x77; 32]))
    }

    fn keys() -> AesWorkingKeys {
        AesWorkingKeys { mac: Secret::new([1; 16]), pin: Secret::new([2; 16]), data: Secret::new([3; 16]) }
    }

    #[test]
    fn three_aes_keys_take_351_bytes_and_open_again() {
        let mut out = [0; 400];
        let length = keys().seal(&tmk(), &[[9; PADDING_BYTES]; 3], &mut out).unwrap();
        assert_eq!(length, 351);
        assert_eq!(AesWorkingKeys::open(&tmk(), &out[..length]), Ok(keys()));
        assert!(matches!(AesWorkingKeys::open(&tmk(), &out[..length - 1]), Err(WorkingKeyError::Layout(_))));
        let other = AesKey::Aes256(Secret::new([0x78; 32]));
        let refused = AesWorkingKeys::open(&other, &out[..length]);
        assert_eq!(refused, Err(WorkingKeyError::Block("MAC", KeyBlockError::Mac)));
        // The MAC key in the place of the PIN key.
        out.copy_within(0..117, 117);
        let refused = AesWorkingKeys::open(&tmk(), &out[..length]);
        assert_eq!(refused, Err(WorkingKeyError::Block("PIN", KeyBlockError::Usage)));
        out[BLOCK_CHARS] ^= 1;
        assert_eq!(AesWorkingKeys::open(&tmk(), &out[..length]), Err(WorkingKeyError::CheckValue("MAC")));
    }

    #[test]
    fn unionpay_keys_have_the_lengths_of_their_sign_in() {
        let tmk = Secret::new(*b"0123456789ABCDEF");
        let (single, double) = (DesKey::Single(Secret::new([5; 8])), DesKey::Double(Secret::new([6; 16])));
        let mac = Secret::new(*b"MACKEY!!");
        let cases = [
            (ManagementCode::SIGN_IN, single, None, 24),
            (ManagementCode::SIGN_IN_DOUBLE, double.clone(), None, 40),
            (ManagementCode::SIGN_IN_DATA, double, Some(Secret::new([7; 16])), 60),
        ];
        for (code, pin, data, expected) in cases {
            let keys = UnionPayWorkingKeys { pin, mac: mac.clone(), data };
            let mut out = [0; UNIONPAY_FIELD_BYTES];
            let length = keys.seal(&tmk, code, &mut out).unwrap();
            assert_eq!(length, expected);
            assert_eq!(UnionPayWorkingKeys::open(&tmk, code, &out[..length]).as_ref(), Ok(&keys));
            out[0] ^= 1;
            let refused = UnionPayWorkingKeys::open(&tmk, code, &out[..length]);
            assert_eq!(refused, Err(WorkingKeyError::CheckValue("PIN")));
            assert_eq!(keys.seal(&tmk, ManagementCode::ECHO, &mut out), Err(WorkingKeyError::NotSignIn));
        }
    }

    #[test]
    fn the_mac_key_of_the_published_chain_opens() {
        let tmk = Secret::from_hex("70F2A84CCBC2AE8625CBB0F2C22AB923").unwrap();
        let encrypted: [u8; 8] = crate::hex::decode("96D605EA176B7E9E").unwrap();
        let mac = Secret::from_hex("C24A8FB57AA20123").unwrap();
        let check = DesKey::Single(mac.clone()).check_value();
        let bytes = [&encrypted[..], &check].concat();
        let opened = open_mac(&DesKey::Double(tmk), false, &mut Reader::new(&bytes));
        assert_eq!(opened, Ok(mac));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_key_field_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), code in 0u16..6) {
            let _ = AesWorkingKeys::open(&tmk(), &bytes);
            let _ = UnionPayWorkingKeys::open(&Secret::new([1; 16]), ManagementCode(code), &bytes);
        }
    }
}
