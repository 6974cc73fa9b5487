//! Management under secure messaging of suite 00 (class x4): files, blocking and unblocking. The MAC covers the command
//! under the challenge that the command just before fetched.

use super::store::{Blocked, State};
use super::{Purse, Stop};
use crate::os::fs::{File, Update};
use crate::os::{Change, Platform, Reply, binary_target, record_target};
use protocol::apdu::{Command, StatusWord};
use protocol::ids::KeyIndex;
use protocol::purse::keys::KeyUse;
use protocol::purse::messaging;
use protocol::secret::{Secret, macs_equal};

const MAC_BYTES: usize = 4;
const MANAGEMENT_KEY: KeyIndex = KeyIndex(1);

/// A command whose MAC was right.
pub(super) struct Secured<'c> {
    /// Its data without the MAC.
    pub(super) body: &'c [u8],
    /// The key that made it.
    pub(super) key: Secret<16>,
}

impl Purse {
    /// Checks the MAC of a class x4 command. The caller clears the key's wrong-MAC count with the change it then makes.
    pub(super) fn secured<'c>(
        &self,
        command: &Command<'c>,
        key_use: KeyUse,
        platform: &mut Platform<'_>,
    ) -> Result<Secured<'c>, Stop> {
        let challenge = platform.challenge.take().ok_or(StatusWord::DATA_INVALIDATED)?;
        let challenge = challenge.first_chunk::<4>().copied().ok_or(StatusWord::DATA_INVALIDATED)?;
        let (body, mac) =
            command.data.split_last_chunk::<MAC_BYTES>().ok_or(StatusWord::SECURE_MESSAGING_MISSING)?;
        let lc = u8::try_from(command.data.len()).map_err(|_| StatusWord::WRONG_LENGTH)?;
        let stored = self.store.key(platform.memory, self.suite(), key_use, MANAGEMENT_KEY)?;
        let key = Secret::new(*stored.key.expose());
        self.store.count_before_comparison(platform.memory, key_use, MANAGEMENT_KEY)?;
        let expected = messaging::command_mac(&key, challenge, command.header(), lc, body);
        if macs_equal(&expected, mac) {
            Ok(Secured { body, key })
        } else {
            Err(StatusWord::SECURE_MESSAGING_WRONG.into())
        }
    }

    /// A change under the maintenance key.
    fn maintain(
        &self,
        command: &Command<'_>,
        platform: &mut Platform<'_>,
        make: impl FnOnce(&mut Change<'_>, &[u8]) -> Result<(), Stop>,
    ) -> Reply {
        let Secured { body, .. } = self.secured(command, KeyUse::Maintenance, platform)?;
        let mut change = Change::new(platform.memory);
        self.store.clear_wrong_macs(&mut change, KeyUse::Maintenance, MANAGEMENT_KEY);
        match make(&mut change, body) {
            Ok(()) => {
                let batch = change.into_batch();
                platform.memory.commit(&batch)?;
                Ok(Vec::new())
            }
            Err(stop) => {
                self.forgive(KeyUse::Maintenance, platform)?;
                Err(stop)
            }
        }
    }

    /// The MAC was right and the command wrong otherwise: that is no guess at the key.
    pub(super) fn forgive(&self, key_use: KeyUse, platform: &mut Platform<'_>) -> Result<(), Stop> {
        let mut change = Change::new(platform.memory);
        self.store.clear_wrong_macs(&mut change, key_use, MANAGEMENT_KEY);
        let batch = change.into_batch();
        Ok(platform.memory.commit(&batch)?)
    }

    pub(super) fn update_binary(&self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let (sfi, offset) = binary_target(command.p1, command.p2, platform.current_file)?;
        let file = updatable(File::find(platform.memory, self.app(), sfi)?)?;
        self.maintain(command, platform, |change, body| Ok(file.update_bytes(change, offset, body)?))
    }

    pub(super) fn update_record(&self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let (file, number) = record_target(self.app(), command, platform)?;
        let file = updatable(file)?;
        self.maintain(command, platform, |change, body| Ok(file.update_record(change, number, body)?))
    }

    pub(super) fn append_record(&self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        if command.p1 != 0 || command.p2 & 0x07 != 0x04 {
            return Err(StatusWord::WRONG_P1P2.into());
        }
        let file = updatable(File::find(platform.memory, self.app(), command.p2 >> 3)?)?;
        self.maintain(command, platform, |change, body| Ok(file.append(change, body)?))
    }

    /// APPLICATION BLOCK: P2 = 00 until unblocked, 01 for good.
    pub(super) fn block(&self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        let blocked = match [command.p1, command.p2] {
            [0x00, 0x00] => Blocked::Temporarily,
            [0x00, 0x01] => Blocked::Permanently,
            _ => return Err(StatusWord::WRONG_P1P2.into()),
        };
        self.set_blocked(command, blocked, platform)
    }

    /// APPLICATION UNBLOCK, of a temporarily blocked application.
    pub(super) fn unblock(&self, command: &Command<'_>, platform: &mut Platform<'_>) -> Reply {
        if [command.p1, command.p2] != [0, 0] {
            return Err(StatusWord::WRONG_P1P2.into());
        }
        match self.store.state(platform.memory)?.blocked {
            Blocked::Temporarily => self.set_blocked(command, Blocked::No, platform),
            Blocked::No => Err(StatusWord::CONDITIONS_NOT_SATISFIED.into()),
            Blocked::Permanently => Err(StatusWord::PERMANENTLY_BLOCKED.into()),
        }
    }

    fn set_blocked(&self, command: &Command<'_>, blocked: Blocked, platform: &mut Platform<'_>) -> Reply {
        if command.data.len() != MAC_BYTES {
            return Err(StatusWord::WRONG_LENGTH.into());
        }
        let state = self.store.state(platform.memory)?;
        self.maintain(command, platform, |change, _| {
            self.store.put_state(change, State { blocked, ..state });
            Ok(())
        })
    }
}

fn updatable(file: File) -> Result<File, StatusWord> {
    if file.update == Update::Issuer { Ok(file) } else { Err(StatusWord::SECURITY_NOT_SATISFIED) }
}
