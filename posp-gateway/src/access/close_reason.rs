//! Why a connection ended, and who is at fault.

use protocol::iso8583::FrameError;
use std::fmt;

/// Why a connection ended.
#[derive(Debug)]
pub enum CloseReason {
    /// The terminal closed it.
    Closed,
    /// The terminal closed it in the middle of a frame.
    CutOff,
    /// Silent for too long.
    Idle,
    /// A frame that was begun and not completed in time.
    SlowFrame,
    /// Answers that nobody took.
    SlowReader,
    /// Not a frame.
    Frame(FrameError),
    /// A message that cannot be answered.
    Message(String),
    /// The network failed.
    Io(std::io::Error),
    /// The gateway stops.
    Stopping,
    /// An answer was lost: the terminal has to repeat its request.
    Lost,
}

impl CloseReason {
    /// Whether the other side broke the rules.
    #[must_use]
    pub const fn is_offence(&self) -> bool {
        matches!(self, Self::SlowFrame | Self::SlowReader | Self::Frame(_) | Self::Message(_))
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the terminal"),
            Self::CutOff => f.write_str("closed by the terminal inside a frame"),
            Self::Idle => f.write_str("silent for longer than the idle limit"),
            Self::SlowFrame => f.write_str("a frame took longer than the frame limit"),
            Self::SlowReader => f.write_str("answers were not taken within the write limit"),
            Self::Frame(error) => write!(f, "bad frame: {error}"),
            Self::Message(error) => f.write_str(error),
            Self::Io(error) => write!(f, "network: {error}"),
            Self::Stopping => f.write_str("the gateway stops"),
            Self::Lost => f.write_str("an answer was lost"),
        }
    }
}
