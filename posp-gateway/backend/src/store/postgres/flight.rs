//! A commit on its way: the gateway decides the next batch while the server makes this one durable.
//!
//! There is one at a time. What is decided meanwhile reads through a second session, and reads what the commit changes from memory, as if it were
//! durable; the versions that it read so are checked by its own commit like all others. If the session is lost, and the commit turns out to have been
//! kept, what was decided on it is decided again all the same: the versions that it read are gone with the connection. If the commit fails, everything that was remembered of it
//! is forgotten, and whoever started it is told by [`PostgresStore::fate`] before he can start another.
//!
//! The session that commits is used for nothing else meanwhile: whatever needs it waits for the commit first ([`PostgresStore::land`]).

use super::session::Session;
use super::{AGAIN, PostgresStore, Seen, is_kept};
use crate::map::Map;
use crate::report::BatchState;
use crate::store::{Batch, Heads, Key, Link, Linked, Record, StoreFault};
use tokio::task::JoinHandle;

/// A commit that was sent.
#[derive(Debug)]
pub(super) struct Flight {
    link: Linked,
    /// Where the sequences stood before.
    before: Heads,
    /// What it changes, with the versions that it gives.
    changes: Map<Key, Seen>,
    /// What its decision read.
    read: Vec<Key>,
    sent: JoinHandle<Result<(), StoreFault>>,
}

impl PostgresStore {
    /// Sends a batch. From now on it is read as if it were durable.
    pub(super) fn depart(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        self.settled()?;
        self.may_commit()?;
        if matches!(self.fate, Some(Err(_))) {
            // Nothing is sent before the failure of the one before is known to who started that.
            return Err(AGAIN);
        }
        let (link, after) = Link::of(batch, &self.heads);
        let sending = match self.prepare_commit(batch, &link) {
            Ok(sending) => sending,
            Err(fault) => {
                self.forget();
                return Err(self.failed(fault));
            }
        };
        let changes = batch.changes.iter().map(|change| (change.key(), self.after(change))).collect();
        self.remember(&changes);
        self.flight = Some(Flight {
            link: Linked { number: link.number, hash: link.hash },
            before: self.heads,
            changes,
            read: self.seen.drain().map(|(key, _)| key).collect(),
            sent: self.runtime.spawn(sending.run()),
        });
        self.due = None;
        self.heads = after;
        Ok(())
    }

    /// A record as it is once its commit is durable.
    fn after(&self, change: &Record) -> Seen {
        let before = self.seen.get(&change.key()).filter(|seen| seen.record.is_some());
        let version = before.map_or(0, |seen| seen.version).saturating_add(1);
        Seen { record: Some(change.clone()), version }
    }

    /// What a commit on its way makes of this record.
    pub(super) fn flying(&self, key: &Key) -> Option<&Seen> {
        self.flight.as_ref().and_then(|flight| flight.changes.get(key))
    }

    /// Waits for a commit on its way. If it was not kept, what was read meanwhile is worth nothing: decide again.
    pub(super) fn land(&mut self) -> Result<(), StoreFault> {
        let Some(Flight { link, before, changes, read, sent }) = self.flight.take() else { return Ok(()) };
        let lost = || StoreFault::Away("the commit's task ended".to_owned());
        let landed = self.runtime.block_on(sent).unwrap_or_else(|_| Err(lost()));
        let fate = match landed {
            Ok(()) => {
                self.conflicts = 0;
                Ok(())
            }
            Err(fault) => {
                self.heads = before;
                for key in read.iter().chain(changes.keys()) {
                    self.kept.remove(key);
                }
                self.forget();
                self.not_kept(fault, link)
            }
        };
        let kept = fate.is_ok();
        self.fate = Some(fate);
        if kept { Ok(()) } else { Err(AGAIN) }
    }

    /// What became of the commit that was started last, told once.
    pub(super) fn fate(&mut self) -> Result<(), StoreFault> {
        // What a landing says, its fate says more exactly.
        let _ = self.land();
        self.fate.take().unwrap_or(Ok(()))
    }

    /// A commit failed: whether it was kept all the same. It stays in doubt as long as the server cannot be asked.
    fn not_kept(&mut self, fault: StoreFault, link: Linked) -> Result<(), StoreFault> {
        match fault {
            StoreFault::Away(why) => {
                tracing::warn!(%why, commit = %link.number, "a commit's answer was lost");
                self.session = None;
                self.doubt = Some(link);
                // Reached again, the heads are those of the database, and nobody works on it in our name.
                self.reach()?;
                // If it was not kept, its requests are decided again.
                if self.heads.link == Some(link) { Ok(()) } else { Err(AGAIN) }
            }
            StoreFault::Conflict => {
                self.give_way();
                Err(AGAIN)
            }
            fault => Err(fault),
        }
    }

    /// The session that reads while a commit is on its way.
    pub(super) fn reader(&mut self) -> Result<(&mut Session, &tokio::runtime::Runtime), StoreFault> {
        if self.reader.as_ref().is_none_or(Session::is_closed) {
            self.reader = Some(Session::open(&self.runtime, &self.options.address, None)?);
        }
        match &mut self.reader {
            Some(reader) => Ok((reader, &self.runtime)),
            None => Err(AGAIN),
        }
    }

    /// Remembers of a commit what rarely changes.
    fn remember(&mut self, changes: &Map<Key, Seen>) {
        if self.kept.len() > super::KEPT_MAX {
            self.kept.clear();
        }
        for (key, after) in changes {
            match &after.record {
                Some(Record::Limit(_)) => self.limits = None,
                Some(Record::Batch(it)) if it.state == BatchState::Closed => {
                    self.kept.remove(key);
                }
                Some(record) if is_kept(record) => {
                    self.kept.insert(*key, after.clone());
                }
                _ => {}
            }
        }
    }
}
