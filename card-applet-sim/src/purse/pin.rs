//! PIN: VERIFY, CHANGE, RELOAD and UNBLOCK. A try is taken before the comparison and given back by a right PIN.

use super::manage::Secured;
use super::store::StoredPin;
use super::{Purse, Stop};
use crate::os::{Change, Platform, Reply};
use protocol::apdu::{Command, StatusWord};
use protocol::crypto::{des_cbc_mac, halves, left4};
use protocol::ids::KeyIndex;
use protocol::purse::Suite;
use protocol::purse::keys::KeyUse;
use protocol::purse::messaging;
use protocol::secret::{Secret, macs_equal};
use zeroize::Zeroizing;

/// Lengths of a PIN, in bytes of packed digits.
const PIN_BYTES: std::ops::RangeInclusive<usize> = 2..=6;
/// Separates the old PIN from the new in CHANGE PIN.
const SEPARATOR: u8 = 0xFF;
const MANAGEMENT_KEY: KeyIndex = KeyIndex(1);

impl Purse {
    /// VERIFY PIN. Without data it tells how many tries are left, and takes none.
    pub(super) fn verify_pin(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        if command.p1 != 0 {
            return Err(StatusWord::WRONG_P1P2.into());
        }
        let stored = self.store.pin(platform.memory, command.p2)?;
        if command.data.is_empty() {
            return Err(match stored.tries_left {
                0 => StatusWord::PIN_BLOCKED.into(),
                left => StatusWord::with_tries_left(left).into(),
            });
        }
        if !PIN_BYTES.contains(&command.data.len()) {
            return Err(StatusWord::WRONG_LENGTH.into());
        }
        self.pin_verified = false;
        self.try_pin(command.p2, &stored, command.data, platform)?;
        let mut change = Change::new(platform.memory);
        self.store.put_tries(&mut change, command.p2, stored.tries_max);
        let batch = change.into_batch();
        platform.memory.commit(&batch)?;
        self.pin_verified = true;
        Ok(Vec::new())
    }

    /// Takes a try, durably, then compares.
    fn try_pin(
        &self,
        key_id: u8,
        stored: &StoredPin,
        pin: &[u8],
        platform: &mut Platform<'_>,
    ) -> Result<(), Stop> {
        let left = stored.tries_left.checked_sub(1).ok_or(StatusWord::PIN_BLOCKED)?;
        let mut change = Change::new(platform.memory);
        self.store.put_tries(&mut change, key_id, left);
        let batch = change.into_batch();
        platform.memory.commit(&batch)?;
        if macs_equal(&stored.pin, pin) {
            Ok(())
        } else if left == 0 {
            Err(StatusWord::PIN_BLOCKED.into())
        } else {
            Err(StatusWord::with_tries_left(left).into())
        }
    }

    /// CHANGE PIN (P1 = 01, with the old one) and RELOAD PIN (P1 = 00, with the issuer's MAC).
    pub(super) fn change_or_reload_pin(
        &mut self,
        command: &Command<'_>,
        platform: &mut Platform<'_>,
    ) -> Reply {
        match command.p1 {
            0x01 => self.change_pin(command, platform),
            0x00 if self.suite() == Suite::Des => self.reload_pin(command, platform),
            // Suite 10: through the issuer's secure channel.
            0x00 => Err(StatusWord::SECURITY_NOT_SATISFIED.into()),
            _ => Err(StatusWord::WRONG_P1P2.into()),
        }
    }

    fn change_pin(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let stored = self.store.pin(platform.memory, command.p2)?;
        let at = command.data.iter().position(|byte| *byte == SEPARATOR).ok_or(StatusWord::WRONG_DATA)?;
        let old = command.data.get(..at).unwrap_or_default();
        let new = command.data.get(at + 1..).unwrap_or_default();
        if !PIN_BYTES.contains(&old.len()) || !PIN_BYTES.contains(&new.len()) {
            return Err(StatusWord::WRONG_LENGTH.into());
        }
        if new.contains(&SEPARATOR) {
            return Err(StatusWord::WRONG_DATA.into());
        }
        self.pin_verified = false;
        self.try_pin(command.p2, &stored, old, platform)?;
        self.replace_pin(command.p2, stored.tries_max, new, None, platform)
    }

    /// RELOAD PIN, suite 00: MAC4 over the new PIN, key = left half XOR right half of the reload key, IV 0.
    fn reload_pin(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let stored = self.store.pin(platform.memory, command.p2)?;
        let (new, mac) = command.data.split_last_chunk::<4>().ok_or(StatusWord::WRONG_LENGTH)?;
        if !PIN_BYTES.contains(&new.len()) {
            return Err(StatusWord::WRONG_LENGTH.into());
        }
        let key = self.store.key(platform.memory, self.suite(), KeyUse::PinReload, MANAGEMENT_KEY)?.key;
        self.store.count_before_comparison(platform.memory, KeyUse::PinReload, MANAGEMENT_KEY)?;
        let [mut left, right] = halves(key.expose());
        left.iter_mut().zip(right).for_each(|(l, r)| *l ^= r);
        let folded = Secret::new(left);
        if !macs_equal(&left4(des_cbc_mac(folded.expose(), [0; 8], &[new])), mac) {
            return Err(StatusWord::MAC_WRONG.into());
        }
        self.replace_pin(command.p2, stored.tries_max, new, Some(KeyUse::PinReload), platform)
    }

    /// PIN UNBLOCK, suite 00: the PIN that shall hold from now on, encrypted, with all its tries.
    pub(super) fn unblock_pin(&mut self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        if command.p1 != 0 {
            return Err(StatusWord::WRONG_P1P2.into());
        }
        let stored = self.store.pin(platform.memory, command.p2)?;
        let Secured { body, key } = self.secured(command, KeyUse::PinUnblock, platform)?;
        let mut clear = Zeroizing::new([0; 255]);
        let pin = messaging::decrypt(&key, body, clear.as_mut_slice());
        let Some(pin) = pin.ok().filter(|pin| PIN_BYTES.contains(&pin.len())) else {
            self.forgive(KeyUse::PinUnblock, platform)?;
            return Err(StatusWord::WRONG_DATA.into());
        };
        self.replace_pin(command.p2, stored.tries_max, pin, Some(KeyUse::PinUnblock), platform)
    }

    fn replace_pin(
        &mut self,
        key_id: u8,
        tries_max: u8,
        new: &[u8],
        authorised_by: Option<KeyUse>,
        platform: &mut Platform<'_>,
    ) -> Reply {
        self.pin_verified = false;
        let mut change = Change::new(platform.memory);
        self.store.put_pin(&mut change, key_id, tries_max, new);
        self.store.put_tries(&mut change, key_id, tries_max);
        if let Some(key_use) = authorised_by {
            self.store.clear_wrong_macs(&mut change, key_use, MANAGEMENT_KEY);
        }
        let batch = change.into_batch();
        platform.memory.commit(&batch)?;
        Ok(Vec::new())
    }
}
