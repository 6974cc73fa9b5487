//! A terminal whose journal is an old one: restored from a copy, or begun anew (`docs/reference/restored-terminal.md`).
//!
//! Its trace numbers have fallen back to some that the host has seen. Under one of these a new message would be taken for an old one's
//! repeat, or, worse, its reversal would take the old one back. So the host says with each sign-in which number it has seen last, and
//! the session goes on behind it: forward, never back. What is told by nobody shows as 94, and the message takes another number.

use super::{Ask, HostSession, Output, Request};
use crate::outbox::{TRACE_MAX, TRACES_SET_ASIDE};
use protocol::ids::Stan;
use protocol::iso8583::typed::ResponseCode;

/// Sign-ins in a row whose numbers the host may have seen: it remembers so many.
const SIGN_INS_ANEW_MAX: u32 = 32;

/// How far `newest` is ahead of `used`, in the ring of trace numbers; `None` if it is not. Further than half the ring is behind.
fn ahead(used: u32, newest: u32) -> Option<u32> {
    let distance = newest.checked_add(TRACE_MAX)?.checked_sub(used)?.checked_rem(TRACE_MAX)?;
    (1..=TRACE_MAX / 2).contains(&distance).then_some(distance)
}

impl HostSession {
    /// Goes on behind `newest`, if that is ahead.
    pub(super) fn move_behind(&mut self, newest: Stan) -> bool {
        let used = self.next_trace.saturating_sub(1);
        let is_ahead = newest.0 <= TRACE_MAX && ahead(used, newest.0).is_some();
        if is_ahead {
            self.pass_over(newest.0);
        }
        is_ahead
    }

    /// The host has seen a sign-in under this number. If its newest is not ahead, the number is of a life before that one which had come further: the
    /// terminal goes on behind its own numbers.
    pub(super) fn sign_in_anew(&mut self, newest: Stan) -> bool {
        if self.move_behind(newest) {
            return true;
        }
        let again = self.signed_in_anew < SIGN_INS_ANEW_MAX;
        if again {
            self.signed_in_anew = self.signed_in_anew.saturating_add(1);
            self.pass_over(self.next_trace.saturating_sub(1));
        }
        again
    }

    /// Goes on behind `newest`. A set of numbers is passed over: of those that were set aside together some may still be on their way to the
    /// host.
    fn pass_over(&mut self, newest: u32) {
        let passed = newest.saturating_add(TRACES_SET_ASIDE);
        let used = if passed.saturating_add(TRACES_SET_ASIDE) > TRACE_MAX { 0 } else { passed };
        self.next_trace = used.saturating_add(1);
        self.last_trace = used.saturating_add(TRACES_SET_ASIDE);
        self.output.push_back(Output::Traces(Stan(self.last_trace)));
        for at in 0..self.queued.len() {
            let own = self.queued.get(at).is_none_or(|request| request.ask.own_numbers().is_some());
            if let Some(numbers) = (!own).then(|| self.take_numbers()).flatten()
                && let Some(request) = self.queued.get_mut(at)
            {
                request.numbers = numbers;
            }
        }
    }

    /// Whether a message that was answered `code` is to be sent again under another number: the host has another message under this one,
    /// and decided nothing. What has an identity of its own, a load, is not repeated: whoever asks for it decides.
    pub(super) fn is_taken_number(&self, request: &Request, code: ResponseCode, decided: bool) -> bool {
        code == ResponseCode::DUPLICATE
            && !decided
            && request.ask.own_numbers().is_none()
            && request.ask != Ask::SignIn
            && request.sends < super::SENDS_MAX
            && self.traces_left() > 0
    }
}
