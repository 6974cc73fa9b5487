//! Accepts connections, counts them, and ends them at the stop.

use super::connection::Connection;
use super::{CloseReason, Limits, Mailbox};
use crate::clock::Clock;
use crate::switch::Switch;
use crate::writer::Queue;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long to wait when the machine gives no more connections (descriptors are used up).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
pub(super) struct Shared {
    pub(super) switch: Arc<Switch>,
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    open: Mutex<HashMap<u64, Arc<Mailbox>>>,
    stats: Stats,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections refused because there were too many.
    pub refused: AtomicU64,
    /// Connections closed because the other side broke the rules.
    pub offended: AtomicU64,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mailbox>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listener and its connections.
#[derive(Clone)]
pub struct Access {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Access({} connections)", self.connections())
    }
}

impl Access {
    /// Nothing is accepted before [`Access::run`].
    #[must_use]
    pub fn new(switch: Arc<Switch>, queue: Arc<Queue>, clock: Clock, limits: Limits) -> Self {
        let open = Mutex::new(HashMap::new());
        Self { shared: Arc::new(Shared { switch, queue, clock, limits, open, stats: Stats::default() }) }
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open().len()
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Accepts until `stop` changes, then ends all connections as their answers leave, at most for `drain`.
    pub async fn run(&self, listener: TcpListener, mut stop: watch::Receiver<bool>, drain: Duration) {
        let mut number = 0u64;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // The sender is gone only if whoever would stop us is.
                _ = stop.changed() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    number = number.wrapping_add(1);
                    self.admit(number, stream, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.drain(drain).await;
    }

    fn admit(&self, number: u64, stream: TcpStream, peer: SocketAddr) {
        let shared = Arc::clone(&self.shared);
        let mailbox = Arc::new(Mailbox::default());
        {
            let mut open = shared.open();
            if open.len() >= shared.limits.connections {
                drop(open);
                let refused = shared.stats.refused.fetch_add(1, Ordering::Relaxed);
                if refused.is_power_of_two() || refused == 0 {
                    tracing::warn!(%peer, refused = refused.saturating_add(1), "too many connections: refused");
                }
                return;
            }
            open.insert(number, Arc::clone(&mailbox));
        }
        shared.stats.accepted.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY");
        }
        tokio::spawn(async move {
            let reason = Connection::new(Arc::clone(&shared), stream, mailbox).await;
            shared.open().remove(&number);
            report(&shared.stats, peer, &reason);
        });
    }

    async fn drain(&self, most: Duration) {
        let deadline = tokio::time::Instant::now() + most;
        let waiting: Vec<Arc<Mailbox>> = self.shared.open().values().cloned().collect();
        waiting.iter().for_each(|mailbox| mailbox.stop());
        while self.connections() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = self.connections();
        if left > 0 {
            tracing::warn!(left, "connections did not end in time");
        }
    }
}

fn report(stats: &Stats, peer: SocketAddr, reason: &CloseReason) {
    if reason.is_offence() {
        stats.offended.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%peer, %reason, "connection closed");
    } else {
        tracing::info!(%peer, %reason, "connection closed");
    }
}
