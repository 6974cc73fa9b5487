//! Keys of terminals in the software module: a terminal's master key at enrolment, its working keys at sign-in, the MACs of its messages
//! (`docs/reference/provisioning.md`).
//!
//! Master keys are in the key file, working keys in memory alone: after a restart terminals sign in again.

use super::{SoftKeys, random, read, write};
use crate::{Enrolment, Generation, KeyError, SignInField};
use protocol::aes_key::AesKey;
use protocol::host_mac::MacKey;
use protocol::ids::TerminalId;
use protocol::keyblock::{Header, Usage, padding_for, wrap};
use protocol::secret::Secret;
use protocol::signin::{OneTimeCode, sign_in_key};
use protocol::working_keys::{AES_FIELD_BYTES, AesWorkingKeys, PADDING_BYTES};

/// The working keys of one terminal, since its last sign-in.
pub(super) struct Working {
    keys: AesWorkingKeys,
    previous_mac: Option<Secret<16>>,
}

impl SoftKeys {
    pub(super) fn enrol(&self, terminal: &TerminalId, renew: bool) -> Result<Enrolment, KeyError> {
        let code = OneTimeCode::new(random(&self.entropy)?);
        let tmk: Secret<16> = random(&self.entropy)?;
        let padding: Secret<{ padding_for(16) }> = random(&self.entropy)?;
        let mut block = [0; 112];
        let header = Header::new(Usage::TMK);
        wrap(&code.protection_key(terminal), &header, tmk.expose(), padding.expose(), &mut block)
            .map_err(|_| KeyError::OutOfBounds("a terminal master key's block"))?;
        {
            let mut terminals = write(&self.terminals);
            if terminals.contains_key(terminal) && !renew {
                return Err(KeyError::Exists);
            }
            terminals.insert(*terminal, tmk);
        }
        write(&self.working).remove(terminal);
        self.save()?;
        Ok(Enrolment { code, block })
    }

    fn master_key(&self, terminal: &TerminalId) -> Result<Secret<16>, KeyError> {
        let terminals = read(&self.terminals);
        terminals.get(terminal).cloned().ok_or(KeyError::NoKey("the terminal is not enrolled"))
    }

    pub(super) fn new_working_keys(&self, terminal: &TerminalId) -> Result<SignInField, KeyError> {
        let tmk = AesKey::Aes128(self.master_key(terminal)?);
        let keys = AesWorkingKeys {
            mac: random(&self.entropy)?,
            pin: random(&self.entropy)?,
            data: random(&self.entropy)?,
        };
        let mut padding = [[0; PADDING_BYTES]; 3];
        for one in &mut padding {
            (self.entropy)(one)?;
        }
        let mut field = [0; AES_FIELD_BYTES];
        let length = keys.seal(&tmk, &padding, &mut field);
        if length != Ok(AES_FIELD_BYTES) {
            return Err(KeyError::OutOfBounds("working keys"));
        }
        let mut working = write(&self.working);
        let previous_mac = working.remove(terminal).map(|old| old.keys.mac.clone());
        working.insert(*terminal, Working { keys, previous_mac });
        Ok(field)
    }

    /// Calls `with` with the key of the terminal's sign-in.
    pub(super) fn with_sign_in_key<T>(
        &self,
        terminal: &TerminalId,
        with: impl FnOnce(&MacKey) -> T,
    ) -> Result<T, KeyError> {
        Ok(with(&sign_in_key(&self.master_key(terminal)?)))
    }

    /// Calls `with` with one of the terminal's MAC keys.
    pub(super) fn with_mac_key<T>(
        &self,
        terminal: &TerminalId,
        generation: Generation,
        with: impl FnOnce(&Secret<16>) -> T,
    ) -> Result<T, KeyError> {
        let working = read(&self.working);
        let keys = working.get(terminal).ok_or(KeyError::NoKey("the terminal has not signed in"))?;
        let key = match generation {
            Generation::Current => &keys.keys.mac,
            Generation::Previous => {
                keys.previous_mac.as_ref().ok_or(KeyError::NoKey("the terminal has no previous MAC key"))?
            }
        };
        Ok(with(key))
    }

    pub(super) fn drop_previous(&self, terminal: &TerminalId) {
        if let Some(keys) = write(&self.working).get_mut(terminal) {
            keys.previous_mac = None;
        }
    }

    pub(super) fn drop_working_keys(&self, terminal: &TerminalId) {
        write(&self.working).remove(terminal);
    }
}
