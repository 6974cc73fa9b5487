//! Complete answers over T=0-style cards: `61xx` is followed by GET RESPONSE, `6Cxx` by the same command with the right
//! Le (ISO/IEC 7816-3, section 12.2.1; ISO/IEC 7816-4, section 5.3.4), so that flows see one command and one answer.
//!
//! Refused: chains without progress, chains of more than [`COMPLETION_ROUNDS_MAX`] rounds, answers that outgrow the
//! caller's buffer, a second `6Cxx` in a row (handed on as the card's answer).

use crate::{Atr, Canceller, CardEvent, CardReader, Malformed, ReaderError};
use std::time::Duration;
use zeroize::Zeroizing;

/// Most GET RESPONSE commands after one command: 65 536 bytes of data in pieces of 256, and one to spare.
pub const COMPLETION_ROUNDS_MAX: usize = 257;

const SW_BYTES: usize = 2;

/// A reader whose answers are complete.
#[derive(Debug)]
pub struct Completing<R> {
    inner: R,
}

impl<R: CardReader> Completing<R> {
    /// Completes the answers of `inner`.
    #[must_use]
    pub const fn new(inner: R) -> Self {
        Self { inner }
    }

    /// The reader inside.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The reader inside.
    pub const fn inner_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// One command, repeated once with the Le that the card asks for.
    fn with_right_le(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError> {
        let length = self.inner.transmit(command, answer)?;
        let (0, [0x6C, le]) = split(answer, length)? else {
            return Ok(length);
        };
        match with_le(command, le) {
            Some(repeated) => self.inner.transmit(&repeated, answer).map_err(already_sent),
            None => Ok(length),
        }
    }

    fn continue_chain(
        &mut self,
        command: &[u8],
        answer: &mut [u8],
        first: usize,
    ) -> Result<usize, ReaderError> {
        let room = answer.len();
        let mut end = first;
        for _ in 0..=COMPLETION_ROUNDS_MAX {
            let (filled, [0x61, more]) = split(answer, end)? else {
                return Ok(end);
            };
            let get_response = [get_response_class(command), 0xC0, 0x00, 0x00, more];
            let rest = answer.get_mut(filled..).unwrap_or_default();
            let got = self.with_right_le(&get_response, rest).map_err(|error| match error {
                ReaderError::AnswerTooLong { .. } => ReaderError::AnswerTooLong { room },
                other => already_sent(other),
            })?;
            if let (0, [0x61, _]) = split(rest, got)? {
                return Err(ReaderError::BadAnswer(Malformed::NoProgress));
            }
            end = filled.saturating_add(got);
        }
        Err(ReaderError::BadAnswer(Malformed::TooManyPieces))
    }
}

/// An error in a later round must not look as if the command had never been sent.
fn already_sent(error: ReaderError) -> ReaderError {
    if error.may_have_run() { error } else { ReaderError::Comm }
}

/// Where the status word starts, and the status word.
fn split(answer: &[u8], length: usize) -> Result<(usize, [u8; SW_BYTES]), ReaderError> {
    let (data, sw) = answer
        .get(..length)
        .and_then(|whole| whole.split_last_chunk::<SW_BYTES>())
        .ok_or(ReaderError::BadAnswer(Malformed::NoStatusWord))?;
    Ok((data.len(), *sw))
}

/// GET RESPONSE is an interindustry command on the logical channel of the command that it continues.
const fn get_response_class(command: &[u8]) -> u8 {
    match command.first() {
        Some(class) if *class & 0xC0 == 0x40 => *class & 0x4F,
        Some(class) => *class & 0x03,
        None => 0,
    }
}

/// The command with another Le, if it has one (cases 2 and 4, short or extended): only such a command was refused for
/// its Le before it did anything.
fn with_le(command: &[u8], le: u8) -> Option<Zeroizing<Vec<u8>>> {
    let le_bytes = match *command {
        [_, _, _, _, _] => 1,
        [_, _, _, _, 0, _, _] => 2,
        [_, _, _, _, 0, high, low, ..] => {
            let data = usize::from(u16::from_be_bytes([high, low]));
            (command.len() == data.checked_add(9)?).then_some(2)?
        }
        [_, _, _, _, data, _, ..] if data != 0 => {
            (command.len() == usize::from(data).checked_add(6)?).then_some(1)?
        }
        _ => return None,
    };
    let mut repeated = Zeroizing::new(command.to_vec());
    let (_, slot) = repeated.split_at_mut_checked(command.len().checked_sub(le_bytes)?)?;
    match slot {
        [short] => *short = le,
        [high, low] => [*high, *low] = if le == 0 { [1, 0] } else { [0, le] },
        _ => return None,
    }
    Some(repeated)
}

impl<R: CardReader> CardReader for Completing<R> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn next_event(&mut self, timeout: Duration) -> Result<CardEvent, ReaderError> {
        self.inner.next_event(timeout)
    }

    fn connect(&mut self) -> Result<Atr, ReaderError> {
        self.inner.connect()
    }

    fn transmit(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, ReaderError> {
        let first = self.with_right_le(command, answer)?;
        self.continue_chain(command, answer, first)
    }

    fn reset(&mut self) -> Result<Atr, ReaderError> {
        self.inner.reset()
    }

    fn disconnect(&mut self) -> Result<(), ReaderError> {
        self.inner.disconnect()
    }

    fn canceller(&self) -> Canceller {
        self.inner.canceller()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exchange, MemoryReader};
    use proptest::prelude::*;

    const ATR: [u8; 2] = [0x3B, 0x00];

    /// A card that expects these commands and gives these answers.
    fn scripted(script: Vec<(Vec<u8>, Vec<u8>)>) -> impl CardReader {
        let mut script = script.into_iter();
        let card = move |command: &[u8], answer: &mut [u8]| {
            let (expected, given) = script.next().expect("one command too many");
            assert_eq!(command, expected);
            if given.len() > answer.len() {
                return Exchange::TooLong;
            }
            answer[..given.len()].copy_from_slice(&given);
            Exchange::Answer(given.len())
        };
        let mut reader = Completing::new(MemoryReader::new("scripted", Atr::new(&ATR).unwrap(), card));
        reader.connect().unwrap();
        reader
    }

    fn run(command: &[u8], room: usize, script: &[(&[u8], &[u8])]) -> Result<Vec<u8>, ReaderError> {
        let script = script.iter().map(|(command, answer)| (command.to_vec(), answer.to_vec())).collect();
        let mut answer = vec![0; room];
        let length = scripted(script).transmit(command, &mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }

    const SELECT: [u8; 7] = [0x00, 0xA4, 0x00, 0x00, 0x02, 0x3F, 0x00];
    const READ: [u8; 5] = [0x81, 0xB0, 0x00, 0x00, 0x00];

    #[test]
    fn a_complete_answer_passes_untouched() {
        assert_eq!(run(&READ, 16, &[(&READ, &[1, 2, 0x90, 0x00])]), Ok(vec![1, 2, 0x90, 0x00]));
    }

    #[test]
    fn pieces_are_fetched_and_joined() {
        let answer = run(
            &SELECT,
            16,
            &[
                (&SELECT, &[0x61, 0x03]),
                (&[0x00, 0xC0, 0x00, 0x00, 0x03], &[1, 2, 3, 0x61, 0x02]),
                (&[0x00, 0xC0, 0x00, 0x00, 0x02], &[4, 5, 0x62, 0x82]),
            ],
        );
        assert_eq!(answer, Ok(vec![1, 2, 3, 4, 5, 0x62, 0x82]));
    }

    #[test]
    fn get_response_stays_on_the_logical_channel() {
        for (class, expected) in [(0x81, 0x01), (0x84, 0x00), (0x45, 0x45), (0x00, 0x00)] {
            let command = [class, 0xB0, 0x00, 0x00, 0x01];
            let answer = run(
                &command,
                16,
                &[(&command, &[0x61, 0x01]), (&[expected, 0xC0, 0x00, 0x00, 0x01], &[7, 0x90, 0x00])],
            );
            assert_eq!(answer, Ok(vec![7, 0x90, 0x00]));
        }
    }

    #[test]
    fn a_wrong_le_is_corrected_once() {
        let mut right = READ;
        right[4] = 2;
        assert_eq!(
            run(&READ, 16, &[(&READ, &[0x6C, 0x02]), (&right, &[1, 2, 0x90, 0x00])]),
            Ok(vec![1, 2, 0x90, 0x00])
        );
        assert_eq!(run(&READ, 16, &[(&READ, &[0x6C, 0x02]), (&right, &[0x6C, 0x02])]), Ok(vec![0x6C, 0x02]));
    }

    #[test]
    fn only_a_command_with_le_is_repeated() {
        // Cases 1 and 3, short and extended: repeating one might do its work twice.
        for command in
            [&[0x00, 0x44, 0x00, 0x00][..], &SELECT, &[0x00, 0xA4, 0x00, 0x00, 0x00, 0x00, 0x02, 0x3F, 0x00]]
        {
            assert_eq!(run(command, 16, &[(command, &[0x6C, 0x02])]), Ok(vec![0x6C, 0x02]));
        }
        for (command, repeated) in [
            (
                &[0x00, 0xA4, 0x00, 0x00, 0x01, 0x3F, 0x00][..],
                &[0x00, 0xA4, 0x00, 0x00, 0x01, 0x3F, 0x05][..],
            ),
            (&[0x00, 0xB0, 0x00, 0x00, 0x00, 0x00, 0x00], &[0x00, 0xB0, 0x00, 0x00, 0x00, 0x00, 0x05]),
            (
                &[0x00, 0xB0, 0x00, 0x00, 0x00, 0x00, 0x01, 0x54, 0x00, 0x00],
                &[0x00, 0xB0, 0x00, 0x00, 0x00, 0x00, 0x01, 0x54, 0x00, 0x05],
            ),
        ] {
            assert_eq!(
                run(command, 16, &[(command, &[0x6C, 0x05]), (repeated, &[0x90, 0x00])]),
                Ok(vec![0x90, 0x00])
            );
        }
    }

    #[test]
    fn a_chain_without_progress_or_without_end_is_refused() {
        let one = [0x00, 0xC0, 0x00, 0x00, 0x01];
        assert_eq!(
            run(&SELECT, 16, &[(&SELECT, &[0x61, 0x01]), (&one, &[0x61, 0x01])]),
            Err(ReaderError::BadAnswer(Malformed::NoProgress))
        );
        let card = |_: &[u8], answer: &mut [u8]| {
            answer[..3].copy_from_slice(&[0xAA, 0x61, 0x01]);
            Exchange::Answer(3)
        };
        let mut reader = Completing::new(MemoryReader::new("endless", Atr::new(&ATR).unwrap(), card));
        reader.connect().unwrap();
        assert_eq!(
            reader.transmit(&READ, &mut [0; 4096]),
            Err(ReaderError::BadAnswer(Malformed::TooManyPieces))
        );
    }

    #[test]
    fn an_answer_that_outgrows_the_buffer_is_an_error_that_says_the_command_ran() {
        let one = [0x00, 0xC0, 0x00, 0x00, 0x04];
        let error =
            run(&SELECT, 4, &[(&SELECT, &[0x61, 0x04]), (&one, &[1, 2, 3, 4, 0x90, 0x00])]).unwrap_err();
        assert_eq!(error, ReaderError::AnswerTooLong { room: 4 });
        assert!(error.may_have_run());
    }

    #[test]
    fn a_tear_in_a_later_round_never_looks_like_an_unsent_command() {
        for error in [ReaderError::NoCard, ReaderError::CardReset, ReaderError::NotConnected] {
            assert!(already_sent(error).may_have_run());
        }
    }

    proptest! {
        #[test]
        fn any_command_and_any_answers_end_in_bounded_rounds(
            command in proptest::collection::vec(any::<u8>(), 0..12),
            answers in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..6), prop_oneof![Just(0x61), Just(0x6C), Just(0x90)], any::<u8>()),
                1..8,
            ),
            room in 0_usize..64,
        ) {
            let mut rounds = 0_usize;
            let card = move |_: &[u8], answer: &mut [u8]| {
                let (data, sw1, sw2) = &answers[rounds % answers.len()];
                rounds += 1;
                assert!(rounds <= 2 * (COMPLETION_ROUNDS_MAX + 2));
                let given = [data.as_slice(), &[*sw1, *sw2]].concat();
                if given.len() > answer.len() {
                    return Exchange::TooLong;
                }
                answer[..given.len()].copy_from_slice(&given);
                Exchange::Answer(given.len())
            };
            let mut reader = Completing::new(MemoryReader::new("any", Atr::new(&ATR).unwrap(), card));
            reader.connect().unwrap();
            let mut answer = vec![0; room];
            if let Ok(length) = reader.transmit(&command, &mut answer) {
                prop_assert!((2..=room).contains(&length));
            }
        }
    }
}
