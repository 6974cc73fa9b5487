//! The card itself: power, selection, GET CHALLENGE, GET RESPONSE, and dispatch to the current application.

use super::root::{FID_ROOT, Root};
use super::{AppKind, Applet, Platform, Registration, Reply, Stop, fs::File};
use crate::memory::{Memory, MemoryFault};
use crate::purse::Purse;
use crate::random::RandomSource;
use crate::sam::Sam;
use protocol::apdu::{Command, StatusWord};
use protocol::purse::command::ins;
use zeroize::Zeroizing;

/// How answers leave the card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Whole answers, as over ISO 14443-4 and T=1.
    #[default]
    Block,
    /// As over T=0: data after a command with data waits for GET RESPONSE (61xx), and a wrong Le is told (6Cxx).
    Character,
}

/// Longest name that SELECT takes, in bytes (ISO 7816-4), and the shortest that may be partial.
const NAME_MAX: usize = 16;
const NAME_MIN: usize = 5;
/// Longest answer in one piece.
const PIECE: usize = 256;
const CHALLENGE_LENGTHS: [usize; 2] = [4, 8];

/// A card in software.
pub struct Card {
    memory: Box<dyn Memory>,
    random: Box<dyn RandomSource>,
    transport: Transport,
    applets: Vec<(super::AppId, Box<dyn Applet>)>,
    session: Option<Session>,
}

/// What a card forgets when its power goes.
#[derive(Default)]
struct Session {
    current: usize,
    current_file: Option<u8>,
    challenge: Option<Vec<u8>>,
    waiting: Zeroizing<Vec<u8>>,
}

impl Card {
    /// A card without power, on memory that was personalised.
    #[must_use]
    pub fn new(memory: impl Memory + 'static, random: impl RandomSource + 'static) -> Self {
        Self {
            memory: Box::new(memory),
            random: Box::new(random),
            transport: Transport::default(),
            applets: Vec::new(),
            session: None,
        }
    }

    /// The card with another transport.
    #[must_use]
    pub fn with_transport(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// Power on, or reset: memory is recovered, volatile state is gone, the MF is current. Answers the ATR.
    ///
    /// # Errors
    /// Memory is damaged or its medium gone: the card stays silent.
    pub fn power_on(&mut self) -> Result<Vec<u8>, MemoryFault> {
        self.session = None;
        self.applets.clear();
        self.memory.power_on()?;
        self.applets.push((super::AppId::ROOT, Box::new(Root)));
        let mut is_sam = false;
        for entry in Registration::all(self.memory.as_ref()) {
            let app = entry.app;
            let applet: Option<Box<dyn Applet>> = match entry.kind {
                AppKind::Purse => {
                    Purse::load(self.memory.as_ref(), entry).map(|a| Box::new(a) as Box<dyn Applet>)
                }
                AppKind::Sam => {
                    is_sam = true;
                    Sam::load(self.memory.as_ref(), entry).map(|a| Box::new(a) as Box<dyn Applet>)
                }
            };
            let damaged = || MemoryFault::Damaged(format!("application {} has no profile", app.0));
            self.applets.push((app, applet.ok_or_else(damaged)?));
        }
        self.session = Some(Session::default());
        Ok(atr(self.transport, is_sam))
    }

    /// Power off: whatever was not committed never happened.
    pub fn power_off(&mut self) {
        self.session = None;
        self.applets.clear();
    }

    /// Whether the card has power (and memory it can use).
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.session.is_some()
    }

    /// Its memory, to look at (`inspect`, tests).
    #[must_use]
    pub fn memory(&self) -> &dyn Memory {
        self.memory.as_ref()
    }

    /// One command APDU. Writes the answer into `answer` (258 bytes hold every answer) and returns its length, or `None`
    /// if the card has no power or loses it: then there is no answer.
    pub fn transmit(&mut self, command: &[u8], answer: &mut [u8]) -> Option<usize> {
        let mut session = self.session.take()?;
        let (data, sw) = match self.run(&mut session, command) {
            Ok(done) => done,
            Err(Stop::Status(sw)) => (Zeroizing::new(Vec::new()), sw),
            Err(Stop::PowerLost) => {
                self.applets.clear();
                return None;
            }
        };
        self.session = Some(session);
        protocol::apdu::Response { data: &data, sw }.encode(answer).ok()
    }

    fn run(&mut self, session: &mut Session, bytes: &[u8]) -> Result<(Zeroizing<Vec<u8>>, StatusWord), Stop> {
        let Ok(command) = Command::parse(bytes) else {
            self.interrupt(session);
            session.waiting = Zeroizing::default();
            session.challenge = None;
            return Err(StatusWord::WRONG_LENGTH.into());
        };
        if (command.cla, command.ins) == (0x00, ins::GET_RESPONSE) {
            return get_response(session, &command);
        }
        session.waiting = Zeroizing::default();
        let challenge = session.challenge.take();
        let reply = match (command.cla, command.ins) {
            (0x00, ins::SELECT) => self.select(session, &command),
            (0x00, ins::GET_CHALLENGE) => self.get_challenge(session, &command),
            _ => self.dispatch(session, &command, challenge),
        };
        Ok(self.outgoing(session, &command, reply?))
    }

    /// Splits an answer as the transport wants it.
    fn outgoing(
        &self,
        session: &mut Session,
        command: &Command<'_>,
        data: Vec<u8>,
    ) -> (Zeroizing<Vec<u8>>, StatusWord) {
        let mut data = Zeroizing::new(data);
        let waits = self.transport == Transport::Character && !command.data.is_empty() && !data.is_empty();
        let limit = command.ne.map_or(PIECE, |ne| usize::try_from(ne.get()).unwrap_or(PIECE).max(PIECE));
        if waits {
            session.waiting = data;
            (Zeroizing::default(), waiting_status(session.waiting.len()))
        } else if data.len() > limit {
            session.waiting = Zeroizing::new(data.split_off(limit));
            let sw = waiting_status(session.waiting.len());
            (data, sw)
        } else {
            (data, StatusWord::OK)
        }
    }

    fn dispatch(
        &mut self,
        session: &mut Session,
        command: &Command<'_>,
        challenge: Option<Vec<u8>>,
    ) -> Reply {
        let (_, applet) = self.applets.get_mut(session.current).ok_or(StatusWord::UNKNOWN)?;
        let mut platform = Platform {
            memory: self.memory.as_mut(),
            random: self.random.as_mut(),
            challenge,
            current_file: session.current_file,
            transport: self.transport,
        };
        let reply = applet.process(command, &mut platform);
        session.current_file = platform.current_file;
        reply
    }

    /// A command that the current application does not see ends its one-shot transaction.
    fn interrupt(&mut self, session: &Session) {
        if let Some((_, applet)) = self.applets.get_mut(session.current) {
            applet.interrupt();
        }
    }

    fn get_challenge(&mut self, session: &mut Session, command: &Command<'_>) -> Reply {
        self.interrupt(session);
        if [command.p1, command.p2] != [0, 0] {
            return Err(StatusWord::WRONG_P1P2.into());
        }
        let len = command.ne.map_or(0, |ne| usize::try_from(ne.get()).unwrap_or(0));
        if !command.data.is_empty() || !CHALLENGE_LENGTHS.contains(&len) {
            return Err(StatusWord::WRONG_LENGTH.into());
        }
        let mut challenge = vec![0; len];
        self.random.fill(&mut challenge)?;
        session.challenge = Some(challenge.clone());
        Ok(challenge)
    }

    fn select(&mut self, session: &mut Session, command: &Command<'_>) -> Reply {
        self.interrupt(session);
        if !matches!(command.p2, 0x00 | 0x0C) {
            return Err(StatusWord::WRONG_P1P2.into());
        }
        let found = match (command.p1, command.data) {
            (0x00, []) => self.index_of(|applet| applet.fid() == FID_ROOT),
            (0x00, [high, low]) => {
                let fid = u16::from_be_bytes([*high, *low]);
                match self.index_of(|applet| applet.fid() == fid) {
                    None => return self.select_file(session, fid),
                    found => found,
                }
            }
            (0x00, _) => return Err(StatusWord::WRONG_LENGTH.into()),
            // A partial name selects the first application whose name begins so.
            (0x04, name) if (NAME_MIN..=NAME_MAX).contains(&name.len()) => {
                self.index_of(|applet| applet.name().starts_with(name))
            }
            (0x04, _) => return Err(StatusWord::WRONG_LENGTH.into()),
            _ => return Err(StatusWord::WRONG_P1P2.into()),
        };
        let reply = self.make_current(session, found.ok_or(StatusWord::FILE_NOT_FOUND)?)?;
        Ok(if command.p2 == 0x0C { Vec::new() } else { reply })
    }

    fn index_of(&self, matches: impl Fn(&dyn Applet) -> bool) -> Option<usize> {
        self.applets.iter().position(|(_, applet)| matches(applet.as_ref()))
    }

    fn make_current(&mut self, session: &mut Session, index: usize) -> Reply {
        if let Some((_, applet)) = self.applets.get_mut(session.current) {
            applet.reset();
        }
        session.current = index;
        session.current_file = None;
        let (_, applet) = self.applets.get_mut(index).ok_or(StatusWord::UNKNOWN)?;
        let mut platform = Platform {
            memory: self.memory.as_mut(),
            random: self.random.as_mut(),
            challenge: None,
            current_file: None,
            transport: self.transport,
        };
        applet.select(&mut platform)
    }

    /// SELECT of an elementary file of the current application: its identifier is its SFI.
    fn select_file(&self, session: &mut Session, fid: u16) -> Reply {
        let not_found = StatusWord::FILE_NOT_FOUND;
        let (app, _) = self.applets.get(session.current).ok_or(not_found)?;
        let sfi = u8::try_from(fid).map_err(|_| not_found)?;
        File::find(self.memory.as_ref(), *app, sfi)?;
        session.current_file = Some(sfi);
        Ok(Vec::new())
    }
}

fn waiting_status(len: usize) -> StatusWord {
    StatusWord(0x6100 | if len >= PIECE { 0 } else { u16::try_from(len).unwrap_or(0) })
}

/// GET RESPONSE: what waits, in pieces of at most Le bytes.
fn get_response(
    session: &mut Session,
    command: &Command<'_>,
) -> Result<(Zeroizing<Vec<u8>>, StatusWord), Stop> {
    if session.waiting.is_empty() {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED.into());
    }
    let asked = command.ne.map_or(PIECE, |ne| usize::try_from(ne.get()).unwrap_or(PIECE));
    let there = session.waiting.len();
    if asked > there && asked != PIECE {
        let low = u16::try_from(there & 0xFF).unwrap_or(0);
        return Err(StatusWord(0x6C00 | low).into());
    }
    let rest = session.waiting.split_off(asked.min(there));
    let piece = std::mem::replace(&mut session.waiting, Zeroizing::new(rest));
    let sw = if session.waiting.is_empty() { StatusWord::OK } else { waiting_status(session.waiting.len()) };
    Ok((piece, sw))
}

/// The ATR. A contactless card behind a reader shows T=0 and T=1 as PC/SC part 3 builds it; a SAM in a contact slot T=0.
/// The historical bytes are a name in compact TLV (80: category, 5n: card issuer's data).
fn atr(transport: Transport, is_sam: bool) -> Vec<u8> {
    let name: &[u8] = if is_sam { b"TLSAM" } else { b"TLPUR" };
    let historical: Vec<u8> = [&[0x80, 0x55], name].concat();
    let count = u8::try_from(historical.len()).unwrap_or(15) & 0x0F;
    let mut atr = vec![0x3B];
    match transport {
        Transport::Character => {
            atr.push(count);
            atr.extend_from_slice(&historical);
        }
        Transport::Block => {
            atr.extend_from_slice(&[0x80 | count, 0x80, 0x01]);
            atr.extend_from_slice(&historical);
            let check = atr.iter().skip(1).fold(0, |sum, byte| sum ^ byte);
            atr.push(check);
        }
    }
    atr
}
