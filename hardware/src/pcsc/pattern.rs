//! Which reader is meant: by a part of its name, and which slot of a reader takes cards and which one holds the SAM.
//!
//! pcsc-lite names a slot `DEVICE BB SS`: the device's name, its number and the slot's number in two hexadecimal digits
//! each. Refused: guessing between readers that fit equally well.

use crate::{ReaderError, ReaderListing};
use core::fmt;

/// Words in a slot's name that say it holds a SAM.
const SAM_WORDS: [&str; 1] = ["sam"];
/// Words in a slot's name that say it is an antenna.
const ANTENNA_WORDS: [&str; 4] = ["picc", "contactless", "nfc", "cl"];

/// A choice among readers by name, without regard to case: a whole name, a part of one, or with `*` for any characters.
/// Empty means "the only one there is".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReaderPattern(String);

impl ReaderPattern {
    /// The only reader there is.
    #[must_use]
    pub const fn only() -> Self {
        Self(String::new())
    }

    /// The reader whose name is or contains `text`, where `*` stands for any characters.
    #[must_use]
    pub fn like(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// Whether it means "the only one".
    #[must_use]
    pub const fn is_only(&self) -> bool {
        self.0.is_empty()
    }

    /// The one name that fits.
    ///
    /// # Errors
    /// No reader at all, none that fits, or several that do.
    pub fn choose<'a>(&self, names: &'a [String]) -> Result<&'a str, ReaderError> {
        if names.is_empty() {
            return Err(ReaderError::NoReader);
        }
        if let Some(exact) = names.iter().find(|name| **name == self.0) {
            return Ok(exact);
        }
        let fitting: Vec<&String> = names.iter().filter(|name| self.fits(name)).collect();
        match *fitting.as_slice() {
            [one] => Ok(one),
            [] => Err(ReaderError::NoSuchReader {
                wanted: self.0.clone(),
                found: ReaderListing(names.to_vec()),
            }),
            _ => Err(several(fitting.into_iter().map(String::as_str))),
        }
    }

    /// Every part between the `*` occurs, in order.
    fn fits(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let pattern = self.0.to_lowercase();
        let mut rest = name.as_str();
        for part in pattern.split('*') {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        true
    }
}

impl fmt::Display for ReaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_only() { "the only reader" } else { &self.0 })
    }
}

/// The slot for cards, and the slot of the SAM if there is one to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderPair {
    /// The reader that cards are presented to.
    pub card: String,
    /// The reader that holds the SAM; `None` if no other slot is attached.
    pub sam: Option<String>,
}

impl ReaderPair {
    /// Finds the pair among the attached readers. What a pattern names is taken; what is left open is decided by the
    /// words in the names, then by the slots of one device (the first takes cards, the second holds the SAM).
    ///
    /// # Errors
    /// No reader, none that a pattern fits, or several that fit equally well: then the configuration must choose.
    pub fn discover(
        names: &[String],
        card: &ReaderPattern,
        sam: &ReaderPattern,
    ) -> Result<Self, ReaderError> {
        let named_sam = if sam.is_only() { None } else { Some(sam.choose(names)?) };
        let card = if card.is_only() {
            let rest = without(names, named_sam);
            choose_card(&rest, named_sam.is_some())?
        } else {
            card.choose(&without(names, named_sam))?.to_owned()
        };
        let sam = match named_sam {
            Some(name) => Some(name.to_owned()),
            None => choose_sam(&without(names, Some(&card)), &card)?,
        };
        Ok(Self { card, sam })
    }
}

fn without(names: &[String], taken: Option<&str>) -> Vec<String> {
    names.iter().filter(|name| Some(name.as_str()) != taken).cloned().collect()
}

fn several<'a>(names: impl Iterator<Item = &'a str>) -> ReaderError {
    ReaderError::SeveralReaders { found: ReaderListing(names.map(str::to_owned).collect()) }
}

/// The name without the slot's number; the whole name if it ends in none.
fn device(name: &str) -> &str {
    match name.rsplit_once(' ') {
        Some((device, slot)) if slot.len() == 2 && slot.bytes().all(|b| b.is_ascii_hexdigit()) => device,
        _ => name,
    }
}

fn has_word(name: &str, words: &[&str]) -> bool {
    let name = name.to_lowercase();
    name.split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word))
}

fn choose_card(names: &[String], sam_is_named: bool) -> Result<String, ReaderError> {
    let slots: Vec<&String> = names.iter().filter(|name| !has_word(name, &SAM_WORDS)).collect();
    let antennas: Vec<&String> =
        slots.iter().copied().filter(|name| has_word(name, &ANTENNA_WORDS)).collect();
    let fitting = if antennas.is_empty() { &slots } else { &antennas };
    match *fitting.as_slice() {
        [] => Err(ReaderError::NoReader),
        [one] => Ok(one.clone()),
        // One device with two slots that no word tells apart.
        [first, second] if !sam_is_named && slots.len() == names.len() && device(first) == device(second) => {
            Ok(first.min(second).clone())
        }
        _ => Err(several(fitting.iter().map(|name| name.as_str()))),
    }
}

fn choose_sam(rest: &[String], card: &str) -> Result<Option<String>, ReaderError> {
    let on_device: Vec<&String> = rest.iter().filter(|name| device(name) == device(card)).collect();
    let named: Vec<&String> = rest.iter().filter(|name| has_word(name, &SAM_WORDS)).collect();
    let named_on_device: Vec<&String> =
        named.iter().copied().filter(|name| on_device.contains(name)).collect();
    for fitting in [&named_on_device, &named, &on_device] {
        match *fitting.as_slice() {
            [] => {}
            [one] => return Ok(Some(one.clone())),
            _ => return Err(several(fitting.iter().map(|name| name.as_str()))),
        }
    }
    match rest {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => Err(several(rest.iter().map(String::as_str))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn discover(list: &[&str], card: &str, sam: &str) -> Result<(String, Option<String>), ReaderError> {
        ReaderPair::discover(&names(list), &ReaderPattern::like(card), &ReaderPattern::like(sam))
            .map(|pair| (pair.card, pair.sam))
    }

    fn pair(card: &str, sam: &str) -> Result<(String, Option<String>), ReaderError> {
        Ok((card.to_owned(), Some(sam.to_owned())))
    }

    #[test]
    fn a_part_of_a_name_in_any_case_is_enough() {
        let list = names(&["Tapline Reader 00 00", "Tapline Reader 00 01", "OMNIKEY 5422 01 00"]);
        assert_eq!(ReaderPattern::like("omnikey").choose(&list), Ok("OMNIKEY 5422 01 00"));
        assert_eq!(ReaderPattern::like("tap*00 01").choose(&list), Ok("Tapline Reader 00 01"));
        assert_eq!(ReaderPattern::like("Tapline Reader 00 00").choose(&list), Ok("Tapline Reader 00 00"));
    }

    #[test]
    fn a_whole_name_wins_over_names_that_contain_it() {
        let list = names(&["Reader", "Reader Plus"]);
        assert_eq!(ReaderPattern::like("Reader").choose(&list), Ok("Reader"));
    }

    #[test]
    fn no_reader_no_fitting_reader_and_several_fitting_readers_are_told_apart() {
        let list = names(&["A 00 00", "B 01 00"]);
        assert_eq!(ReaderPattern::only().choose(&[]), Err(ReaderError::NoReader));
        assert_eq!(
            ReaderPattern::like("C").choose(&list),
            Err(ReaderError::NoSuchReader { wanted: "C".into(), found: ReaderListing(list.clone()) })
        );
        assert_eq!(
            ReaderPattern::only().choose(&list),
            Err(ReaderError::SeveralReaders { found: ReaderListing(list.clone()) })
        );
    }

    #[test]
    fn two_slots_of_one_device_are_card_and_sam() {
        assert_eq!(discover(&["V 00 01", "V 00 00"], "", ""), pair("V 00 00", "V 00 01"));
    }

    #[test]
    fn words_in_the_names_decide() {
        let acr = ["ACS ACR1252 1S CL Reader PICC 00 00", "ACS ACR1252 1S CL Reader SAM 01 00"];
        assert_eq!(discover(&acr, "", ""), pair(acr[0], acr[1]));
        let dual = ["X Dual Reader ICC 00 00", "X Dual Reader PICC 01 00", "X Dual Reader SAM 02 00"];
        assert_eq!(discover(&dual, "", ""), pair(dual[1], dual[2]));
    }

    #[test]
    fn a_single_reader_has_no_sam_slot() {
        assert_eq!(discover(&["A 00 00"], "", ""), Ok(("A 00 00".into(), None)));
        assert_eq!(discover(&[], "", ""), Err(ReaderError::NoReader));
    }

    #[test]
    fn two_separate_readers_are_never_guessed_between() {
        let both = ["A 00 00", "B 01 00"];
        let several = Err(ReaderError::SeveralReaders { found: ReaderListing(names(&both)) });
        assert_eq!(discover(&both, "", ""), several);
        assert_eq!(discover(&both, "B", ""), pair("B 01 00", "A 00 00"));
        assert_eq!(discover(&both, "", "B"), pair("A 00 00", "B 01 00"));
        let three = ["A 00 00", "B 01 00", "C 02 00"];
        assert_eq!(discover(&three, "A", "C"), pair("A 00 00", "C 02 00"));
        assert!(matches!(discover(&three, "A", ""), Err(ReaderError::SeveralReaders { .. })));
    }
}
