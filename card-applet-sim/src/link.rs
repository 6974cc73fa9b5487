//! The wire to vpcd, the virtual reader of a PC/SC daemon: we are its client, one connection for each slot.
//!
//! Each message is a 2-byte big-endian length and a body. From the reader, a body of one byte is a control: 00 power off, 01
//! power on, 02 reset, 04 tell the ATR (the only one that is answered); anything longer is a command APDU. Connecting is
//! insertion, closing the socket is removal.
//!
//! vpcd writes length and body apart. With delayed acknowledgements each APDU would cost 40 ms: `TCP_QUICKACK` is armed again
//! before *every* read, since the kernel forgets it.

use crate::os::Card;
use crate::trace;
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// What ended a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The reader closed it, or someone removed the card.
    Closed,
    /// The card left the field in the middle, as it was asked to.
    Torn,
    /// The card cannot work: its memory is damaged or gone.
    CardFailed(String),
}

/// What shall become of the next command, asked before it is sent to the card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// Command and answer pass.
    #[default]
    Pass,
    /// The command never reaches the card.
    LoseCommand,
    /// The card does it; its answer never reaches the reader.
    LoseAnswer,
}

/// Sees what passes, and may tear the card out of the field.
pub trait Watch {
    /// A command is about to be sent to the card.
    fn before(&mut self, command: &[u8]) -> Fate;
    /// An exchange, as a line without secrets.
    fn exchanged(&mut self, line: &str);
    /// The reader switched power (`power on`, `reset`, `power off`).
    fn power(&mut self, what: &'static str);
}

const POWER_OFF: u8 = 0x00;
const POWER_ON: u8 = 0x01;
const RESET: u8 = 0x02;
const GET_ATR: u8 = 0x04;
/// Room for every answer: data of an extended APDU never leaves these cards.
const ANSWER_BYTES: usize = 4096;

/// One connection to one slot.
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Takes a connected stream.
    ///
    /// # Errors
    /// The socket refuses its options.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Serves until the connection ends.
    ///
    /// # Errors
    /// The socket fails otherwise than by closing.
    pub fn serve(&mut self, card: &mut Card, watch: &mut dyn Watch) -> io::Result<End> {
        // The reader asks for the ATR before it powers the card up.
        let mut atr = match card.power_on() {
            Ok(atr) => atr,
            Err(fault) => return Ok(End::CardFailed(fault.to_string())),
        };
        card.power_off();
        while let Some(message) = self.receive()? {
            match message.as_slice() {
                [] => {}
                [POWER_OFF] => {
                    watch.power("power off");
                    card.power_off();
                }
                [which @ (POWER_ON | RESET)] => {
                    watch.power(if *which == RESET { "reset" } else { "power on" });
                    match card.power_on() {
                        Ok(fresh) => atr = fresh,
                        Err(fault) => return Ok(End::CardFailed(fault.to_string())),
                    }
                }
                [GET_ATR] => self.send(&atr)?,
                [_] => {}
                command => {
                    if !self.exchange(command, card, watch)? {
                        card.power_off();
                        return Ok(End::Torn);
                    }
                }
            }
        }
        card.power_off();
        Ok(End::Closed)
    }

    /// One APDU; `false` if the card is gone.
    fn exchange(&mut self, command: &[u8], card: &mut Card, watch: &mut dyn Watch) -> io::Result<bool> {
        let fate = watch.before(command);
        if fate == Fate::LoseCommand {
            watch.exchanged(&format!("{} (torn: the card did not get it)", trace::line(command, None)));
            return Ok(false);
        }
        let mut answer = [0; ANSWER_BYTES];
        let n = card.transmit(command, &mut answer);
        let answer = n.and_then(|n| answer.get(..n));
        if fate == Fate::LoseAnswer {
            let did = trace::line(command, answer);
            watch.exchanged(&format!("{did} (torn: the reader does not get it)"));
            return Ok(false);
        }
        watch.exchanged(&trace::line(command, answer));
        match answer {
            Some(answer) => self.send(answer).map(|()| true),
            None => Ok(false),
        }
    }

    /// The next message; `None` when the other side closed.
    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 2];
        if !self.read_all(&mut length)? {
            return Ok(None);
        }
        let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
        Ok(if self.read_all(&mut body)? { Some(body) } else { None })
    }

    fn read_all(&mut self, out: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            // On a socket that was just shut down this fails; the read then tells the truth.
            let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
            match self.stream.read(rest) {
                Ok(0) => return Ok(false),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_end(&e) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "answer longer than a message");
        let length = u16::try_from(body.len()).map_err(|_| too_long())?;
        let message = [&length.to_be_bytes(), body].concat();
        match self.stream.write_all(&message) {
            // The next read sees the end.
            Err(e) if is_end(&e) => Ok(()),
            other => other,
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}
