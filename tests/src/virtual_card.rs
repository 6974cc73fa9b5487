//! A card at one of vpcd's slots: any [`MemoryCard`] answers what the daemon sends. Connecting is insertion, closing the
//! socket is removal. This is the harness's own small client, so that the reader is tested without any simulator.
//!
//! vpcd's messages: a length of two bytes, big-endian, then as many bytes. One byte is a control (0 power off, 1 power
//! on, 2 reset, 4 give the ATR); more are a command, answered the same way.

use hardware::{Exchange, MemoryCard, Power};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::thread::JoinHandle;

const MESSAGE_BYTES_MAX: usize = 65_535;

/// A card in a slot. Dropping it removes it.
#[derive(Debug)]
pub struct VirtualCard<C> {
    stream: TcpStream,
    thread: Option<JoinHandle<C>>,
}

/// How the card's socket acknowledges what vpcd writes. vpcd writes length and body separately, so a delayed
/// acknowledgement costs 40 ms a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// At once: asked for again before every read, because the kernel forgets it.
    Quick,
    /// As the kernel does by default; only to measure what that costs.
    Delayed,
}

impl<C: MemoryCard + Send + 'static> VirtualCard<C> {
    /// Inserts `card` at vpcd's slot on `port` of this machine.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn insert(port: u16, atr: &[u8], card: C) -> io::Result<Self> {
        Self::insert_with(port, atr, card, Acknowledgement::Quick)
    }

    /// As `insert`, with a choice that only measurements need.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn insert_with(port: u16, atr: &[u8], card: C, acknowledgement: Acknowledgement) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let own = stream.try_clone()?;
        let atr = atr.to_vec();
        let thread = std::thread::spawn(move || serve(own, &atr, card, acknowledgement));
        Ok(Self { stream, thread: Some(thread) })
    }

    /// Takes the card out and returns it.
    ///
    /// # Panics
    /// If the card panicked.
    #[must_use]
    pub fn remove(mut self) -> C {
        let _already_closed = self.stream.shutdown(Shutdown::Both);
        let thread = self.thread.take().expect("the card was not removed before");
        thread.join().expect("the card did not panic")
    }
}

impl<C> Drop for VirtualCard<C> {
    fn drop(&mut self) {
        let _already_closed = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Serves until the socket closes.
fn serve<C: MemoryCard>(
    mut stream: TcpStream,
    atr: &[u8],
    mut card: C,
    acknowledgement: Acknowledgement,
) -> C {
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    let mut answer = vec![0; MESSAGE_BYTES_MAX];
    while let Ok(length) = read_message(&mut stream, &mut message, acknowledgement) {
        let sent = match message[..length] {
            [0] => {
                card.power(Power::Off);
                Ok(())
            }
            [1] => {
                card.power(Power::On);
                Ok(())
            }
            [2] => {
                card.power(Power::Reset);
                Ok(())
            }
            [4] => write_message(&mut stream, atr),
            ref command => match card.exchange(command, &mut answer) {
                Exchange::Answer(length) => write_message(&mut stream, &answer[..length]),
                Exchange::Silent => Ok(()),
                Exchange::Removed | Exchange::TooLong => break,
            },
        };
        if sent.is_err() {
            break;
        }
    }
    card.power(Power::Off);
    let _already_closed = stream.shutdown(Shutdown::Both);
    card
}

fn read_message(
    stream: &mut TcpStream,
    message: &mut [u8],
    acknowledgement: Acknowledgement,
) -> io::Result<usize> {
    let acknowledge = |stream: &TcpStream| match acknowledgement {
        Acknowledgement::Quick => SockRef::from(stream).set_tcp_quickack(true),
        Acknowledgement::Delayed => Ok(()),
    };
    let mut length = [0; 2];
    acknowledge(stream)?;
    stream.read_exact(&mut length)?;
    let length = usize::from(u16::from_be_bytes(length));
    acknowledge(stream)?;
    stream.read_exact(&mut message[..length])?;
    Ok(length)
}

fn write_message(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let length = u16::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), body].concat())
}
