//! Bytes to and from the gateway: TCP, with a limit on every wait.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest that bytes on their way out may be stuck.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Shortest wait for bytes: sockets know no shorter one than this.
const RECEIVE_MIN: Duration = Duration::from_millis(1);

/// An open connection.
pub trait Wire: Send {
    /// Sends all of it.
    ///
    /// # Errors
    /// The connection is gone; how much arrived is not known.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Receives what is there, after at most `wait`; 0 when the other end closed.
    ///
    /// # Errors
    /// `TimedOut` if nothing came; anything else: the connection is gone.
    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<usize>;
}

/// Opens a connection to `host:port` within a time.
pub type Dial = Box<dyn FnMut(&str, Duration) -> io::Result<Box<dyn Wire>>>;

struct Tcp(TcpStream);

impl Wire for Tcp {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.0.set_read_timeout(Some(wait.max(RECEIVE_MIN)))?;
        self.0.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => io::ErrorKind::TimedOut.into(),
            _ => error,
        })
    }
}

/// Opens a TCP connection; each address that the name has is tried.
///
/// # Errors
/// An address that is none, and what the last attempt said.
pub fn tcp(address: &str, within: Duration) -> io::Result<Box<dyn Wire>> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, within) {
            Ok(stream) => {
                // A message is one write: waiting for more would only delay it.
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(SEND_MAX))?;
                return Ok(Box::new(Tcp(stream)));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
