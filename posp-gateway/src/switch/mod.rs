//! The switch: what a message means, whether its sender may say it, and how it is answered.
//!
//! In this order: it must be readable (else 30 without MAC, or the connection is closed if not even trace and terminal can be read); an echo
//! is answered at once; the terminal must be enrolled (97) and signed in (22); the MAC must be right (A0); the merchant must be the
//! terminal's (03). Only then is anything asked of the backend. Answers to messages that were not verified carry no MAC: nobody can
//! use the gateway to make one for a terminal's trace.

mod answer;
mod echo;
mod meaning;
mod session;

pub use answer::{ANSWER_MAX, AnswerError};
pub use echo::{Echo, Seal};
pub use session::{GRACE_MS, SignInNo};

use answer::Said;
use backend::api::{ContentDigest, HostAnswer, HostBody, HostRequest, Identity, Report};
use keys::KeyModule;
use meaning::Refused;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::typed::{Batch, ManagementCode, Original, ResponseCode};
use protocol::iso8583::{AES, FieldError, FieldNo, Frame, Message, Mti};
use protocol::purse::Moment;
use protocol::time::Now;
use session::{Arrival, Granted, MacVerdict, Seen, Sessions, SignInId, Standing};
use std::sync::Arc;

/// Fields that a repeat may change: PIN block, security control, keys, MAC.
const MAY_CHANGE: [FieldNo; 4] = [FieldNo(52), FieldNo(53), FieldNo(62), FieldNo(64)];

/// What becomes of a frame.
#[derive(Debug)]
pub enum Verdict {
    /// It is answered: so many bytes were written.
    Answered(usize),
    /// The backend is asked; the answer is written by [`Switch::answer`].
    Ask(Box<Ask>),
}

/// Something for the backend.
#[derive(Debug)]
pub struct Ask {
    /// For the answer.
    pub echo: Echo,
    /// What is asked.
    pub question: Question,
}

/// What is asked of the backend.
#[derive(Debug)]
pub enum Question {
    /// A terminal's request.
    Host(HostRequest),
    /// Where the terminal belongs: a sign-in.
    SignIn(Pending),
}

/// A sign-in that waits for the terminal's registration.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    id: SignInId,
    received: Arrival,
    merchant: protocol::ids::MerchantId,
}

/// Why a frame ends its connection.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    /// Not even trace and terminal can be read.
    #[error("unreadable message: {0}")]
    Unreadable(FieldError),
    /// An answer, where requests are expected.
    #[error("message type {0} is no request")]
    NotARequest(Mti),
    /// An answer could not be written.
    #[error("no answer could be written: {0}")]
    Answer(#[from] AnswerError),
}

/// Shared by all connections.
pub struct Switch {
    keys: Arc<dyn KeyModule>,
    sessions: Sessions,
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Switch({} terminals signed in)", self.sessions.count())
    }
}

fn local(now: &Now) -> Option<Moment> {
    now.local().ok().map(|(date, time)| Moment { date, time })
}

impl Switch {
    /// With this key module; nobody is signed in.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyModule>) -> Self {
        Self { keys, sessions: Sessions::default() }
    }

    /// What answers are sealed with.
    fn seals(&self) -> answer::Seals<'_> {
        (&*self.keys, &self.sessions)
    }

    /// How many terminals are signed in.
    #[must_use]
    pub fn signed_in(&self) -> usize {
        self.sessions.count()
    }

    /// Judges a frame. An answer that can be given at once is written into `out` (at least [`ANSWER_MAX`] bytes).
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn receive(&self, frame: &Frame<'_>, now: &Now, out: &mut [u8]) -> Result<Verdict, Unanswerable> {
        let message = match Message::parse(&AES, frame.message) {
            Ok(message) => message,
            Err(error) => {
                let message = Message::salvage(&AES, frame.message);
                let echo = Echo::of(frame, &message).map_err(|_| Unanswerable::Unreadable(error))?;
                if message.mti().is_reply() {
                    return Err(Unanswerable::NotARequest(message.mti()));
                }
                tracing::info!(terminal = %echo.terminal, trace = echo.trace.0, %error, "format error");
                return self.now(&echo, ResponseCode::FORMAT, now, out);
            }
        };
        if message.mti().is_reply() {
            return Err(Unanswerable::NotARequest(message.mti()));
        }
        let echo = Echo::of(frame, &message).map_err(Unanswerable::Unreadable)?;
        let Some(batch) = echo.batch else { return self.now(&echo, ResponseCode::FORMAT, now, out) };
        match (message.mti(), batch.code) {
            (Mti::MANAGEMENT_ADVICE, Some(ManagementCode::ECHO)) => {
                self.now(&echo, ResponseCode::APPROVED, now, out)
            }
            (Mti::MANAGEMENT, Some(ManagementCode::SIGN_IN)) => {
                self.sign_in(&message, echo, &batch, now, out)
            }
            (mti, code) => {
                let sign_out = mti == Mti::MANAGEMENT_ADVICE && code == Some(ManagementCode::SIGN_OUT);
                self.verified(&message, echo, &batch, now, out, sign_out)
            }
        }
    }

    fn now(
        &self,
        echo: &Echo,
        code: ResponseCode,
        now: &Now,
        out: &mut [u8],
    ) -> Result<Verdict, Unanswerable> {
        let length = answer::write(self.seals(), echo, &Said::code(code, local(now)), out)?;
        Ok(Verdict::Answered(length))
    }

    fn sign_in(
        &self,
        message: &Message<'_>,
        mut echo: Echo,
        batch: &Batch,
        now: &Now,
        out: &mut [u8],
    ) -> Result<Verdict, Unanswerable> {
        let Some((input, mac)) = message.mac() else { return self.now(&echo, ResponseCode::MAC, now, out) };
        let Some(merchant) = echo.merchant else {
            return self.now(&echo, ResponseCode::FORMAT, now, out);
        };
        match self.keys.verify_sign_in_mac(&echo.terminal, input, &mac) {
            Err(_) => return self.now(&echo, ResponseCode::UNKNOWN_TERMINAL, now, out),
            Ok(false) => {
                tracing::warn!(terminal = %echo.terminal, "sign-in with a wrong MAC");
                return self.now(&echo, ResponseCode::MAC, now, out);
            }
            Ok(true) => echo.seal = Seal::SignIn,
        }
        let id = SignInId { batch: batch.batch, trace: echo.trace, digest: digest(message), mac };
        let received = self.sessions.arrival();
        match self.sessions.seen(&echo.terminal, &id, received) {
            Seen::Older(batch, trace) => {
                let length = answer::write(self.seals(), &echo, &an_old_one(&echo, batch, trace, now), out)?;
                Ok(Verdict::Answered(length))
            }
            Seen::New | Seen::Newest => {
                let question = Question::SignIn(Pending { id, received, merchant });
                Ok(Verdict::Ask(Box::new(Ask { echo, question })))
            }
        }
    }

    fn verified(
        &self,
        message: &Message<'_>,
        mut echo: Echo,
        batch: &Batch,
        now: &Now,
        out: &mut [u8],
        sign_out: bool,
    ) -> Result<Verdict, Unanswerable> {
        let standing = match self.check(message, &echo, now) {
            Ok((standing, seal)) => {
                echo.seal = seal;
                standing
            }
            Err(code) => {
                tracing::info!(terminal = %echo.terminal, trace = echo.trace.0, %code, "refused unverified");
                return self.now(&echo, code, now, out);
            }
        };
        if echo.merchant != Some(standing.merchant) {
            return self.now(&echo, ResponseCode::NO_MERCHANT, now, out);
        }
        if sign_out {
            let verdict = self.now(&echo, ResponseCode::APPROVED, now, out)?;
            self.sessions.sign_out(&*self.keys, &echo.terminal);
            tracing::info!(terminal = %echo.terminal, "signed out");
            return Ok(verdict);
        }
        let body = match meaning::of(&*self.keys, message, batch) {
            Ok(body) => body,
            Err(Refused(code)) => {
                tracing::info!(terminal = %echo.terminal, trace = echo.trace.0, %code, "refused");
                return self.now(&echo, code, now, out);
            }
        };
        if let HostBody::Settle { totals } = &body {
            echo.asked = Some(Box::new(*totals));
        }
        let identity = Identity {
            acquirer: standing.acquirer,
            terminal: echo.terminal,
            merchant: standing.merchant,
            batch: batch.batch,
            trace: echo.trace,
        };
        let question = Question::Host(HostRequest { identity, digest: digest(message), body });
        Ok(Verdict::Ask(Box::new(Ask { echo, question })))
    }

    /// Signed in, and the MAC right?
    fn check(&self, message: &Message<'_>, echo: &Echo, now: &Now) -> Result<(Standing, Seal), ResponseCode> {
        let Some(standing) = self.sessions.standing(&echo.terminal) else {
            let enrolled = self.keys.sign_in_mac(&echo.terminal, &[]).is_ok();
            return Err(if enrolled { ResponseCode::SIGN_IN } else { ResponseCode::UNKNOWN_TERMINAL });
        };
        let (input, mac) = message.mac().ok_or(ResponseCode::MAC)?;
        match self.sessions.verify(&*self.keys, &echo.terminal, (input, &mac), now.mono) {
            MacVerdict::Right(sign_in) => Ok((standing, Seal::Working(sign_in))),
            MacVerdict::Wrong => Err(ResponseCode::MAC),
        }
    }

    /// Writes the backend's answer to a terminal's request and returns its length.
    ///
    /// # Errors
    /// It cannot be written; what was decided stays decided.
    pub fn answer(&self, echo: &Echo, answer: &HostAnswer, out: &mut [u8]) -> Result<usize, AnswerError> {
        answer::write(self.seals(), echo, &Said::answer(answer), out)
    }

    /// Writes the answer to a request about which nothing was decided: 96, the terminal may repeat it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn failed(&self, echo: &Echo, now: &Now, out: &mut [u8]) -> Result<usize, AnswerError> {
        answer::write(self.seals(), echo, &Said::code(ResponseCode::SYSTEM, local(now)), out)
    }

    /// Completes a sign-in, now that the terminal's registration is known.
    ///
    /// # Errors
    /// The answer cannot be written.
    pub fn registered(
        &self,
        echo: &Echo,
        pending: &Pending,
        report: &Report,
        now: &Now,
        out: &mut [u8],
    ) -> Result<usize, AnswerError> {
        let mut refused = |code| answer::write(self.seals(), echo, &Said::code(code, local(now)), &mut *out);
        let Report::Terminal(terminal) = report else {
            // Not registered: whoever it is, it gets no MAC.
            let echo = Echo { seal: Seal::None, ..echo.clone() };
            let said = Said::code(ResponseCode::UNKNOWN_TERMINAL, local(now));
            return answer::write(self.seals(), &echo, &said, out);
        };
        if terminal.merchant != pending.merchant {
            return refused(ResponseCode::NO_MERCHANT);
        }
        let sign_in = (pending.id, pending.received);
        let field = match self.sessions.sign_in(&*self.keys, terminal, sign_in, now.mono) {
            Ok(Granted::Keys(field)) => field,
            Ok(Granted::Older(batch, trace)) => {
                return answer::write(self.seals(), echo, &an_old_one(echo, batch, trace, now), out);
            }
            Err(error) => {
                tracing::error!(terminal = %terminal.terminal, %error, "no working keys");
                return refused(ResponseCode::SYSTEM);
            }
        };
        tracing::info!(terminal = %terminal.terminal, batch = terminal.batch.0, "signed in");
        let said = Said {
            keys: Some(&field),
            batch: Some(terminal.batch),
            newest: terminal.newest_trace.map(|trace| Original::new(terminal.batch, trace, None)),
            ..Said::code(ResponseCode::APPROVED, local(now))
        };
        answer::write(self.seals(), echo, &said, out)
    }
}

/// The answer to a sign-in that is not the newest: it names that one, behind which the terminal signs in again if it is an old journal's.
fn an_old_one(echo: &Echo, batch: BatchNo, trace: Stan, now: &Now) -> Said<'static> {
    tracing::warn!(terminal = %echo.terminal, trace = echo.trace.0, newest = trace.0, "an old sign-in again");
    let newest = Some(Original::new(batch, trace, None));
    Said { newest, ..Said::code(ResponseCode::DUPLICATE, local(now)) }
}

fn digest(message: &Message<'_>) -> ContentDigest {
    let whole = message.fingerprint(&MAY_CHANGE);
    ContentDigest(whole.first_chunk().copied().unwrap_or_default())
}
