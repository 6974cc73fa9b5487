//! Access: terminals' connections, frames and limits (`docs/posp.md` section 1).
//!
//! Every limit has a name and closes one connection only: a bad length, TPDU or header, a frame that does not complete, silence, an answer
//! that nobody takes. A connection may have many requests outstanding; answers leave as they are ready, in any order. When its share is
//! used up, or the queue to the writer is full, nothing more is read from it until answers have left: the terminal's own TCP window stops it.

mod close_reason;
mod connection;
mod listener;
mod mailbox;
mod session;

pub use close_reason::CloseReason;
pub use listener::{Access, Stats};
pub use mailbox::{Done, Mailbox};
pub use session::{Held, Resumed, Session, UNSENT_MAX};

use std::time::Duration;

/// Limits of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at once; further ones are closed at once.
    pub connections: usize,
    /// Most requests of one connection that wait for their answers.
    pub in_flight: usize,
    /// How long a connection may be silent with nothing outstanding.
    pub idle: Duration,
    /// How long a frame may take from its first byte to its last.
    pub frame: Duration,
    /// How long the terminal may leave answers unread.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            in_flight: 64,
            idle: Duration::from_secs(300),
            frame: Duration::from_secs(10),
            write: Duration::from_secs(10),
        }
    }
}
