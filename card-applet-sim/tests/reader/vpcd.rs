//! The reader's side of the wire, as vpcd speaks it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// Two listening slots on neighbouring ports.
pub(crate) struct Reader {
    pub(crate) address: SocketAddr,
    card: TcpListener,
    sam: TcpListener,
}

impl Reader {
    pub(crate) fn start() -> Self {
        for _ in 0..200 {
            let card = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = card.local_addr().unwrap();
            let Some(next) = address.port().checked_add(1) else { continue };
            if let Ok(sam) = TcpListener::bind((address.ip(), next)) {
                card.set_nonblocking(true).unwrap();
                sam.set_nonblocking(true).unwrap();
                return Self { address, card, sam };
            }
        }
        panic!("no two neighbouring ports are free");
    }

    pub(crate) fn card(&self) -> Slot {
        accept(&self.card)
    }

    pub(crate) fn sam(&self) -> Slot {
        accept(&self.sam)
    }

    /// Whether nobody inserts a card for a while.
    pub(crate) fn stays_empty(&self) -> bool {
        std::thread::sleep(Duration::from_millis(300));
        self.card.accept().is_err()
    }
}

fn accept(listener: &TcpListener) -> Slot {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            return Slot(stream);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no card was inserted");
}

/// A slot with something in it.
pub(crate) struct Slot(TcpStream);

impl Slot {
    /// Length and body apart, without `TCP_NODELAY`: what makes delayed acknowledgements expensive.
    ///
    /// A card that was removed meanwhile shows when its answer is read.
    fn send(&mut self, body: &[u8]) {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let _ = self.0.write_all(&length).and_then(|()| self.0.write_all(body));
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).ok()?;
        let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut body).ok()?;
        Some(body)
    }

    pub(crate) fn atr(&mut self) -> Vec<u8> {
        self.send(&[0x04]);
        self.receive().unwrap()
    }

    pub(crate) fn power_on(&mut self) {
        self.send(&[0x01]);
    }

    pub(crate) fn power_off(&mut self) {
        self.send(&[0x00]);
    }

    pub(crate) fn reset(&mut self) {
        self.send(&[0x02]);
    }

    /// The answer, or `None` if the card is gone.
    pub(crate) fn apdu(&mut self, command: &str) -> Option<String> {
        let mut bytes = vec![0; command.len() / 2];
        protocol::hex::decode_into(command, &mut bytes).unwrap();
        self.send(&bytes);
        self.receive().map(|answer| protocol::hex::Hex(&answer).to_string())
    }
}
