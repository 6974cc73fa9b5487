//! The first words with a card, the same in every flow: SELECT by each accepted AID in turn, then who the card is.

use crate::machine::{Apdu, apdu};
use crate::outcome::Decline;
use crate::profile::{IssuerProfile, Profile};
use crate::record::CardId;
use protocol::apdu::{Response, StatusWord};
use protocol::purse::command::Select;
use protocol::purse::file::{Fci, PublicData};
use protocol::time::CardDate;

/// A card that was selected, and the issuer's entry it falls under.
#[derive(Clone, Debug)]
pub(crate) struct Selected<'p> {
    pub(crate) id: CardId,
    pub(crate) public: PublicData,
    pub(crate) issuer: &'p IssuerProfile,
}

impl Selected<'_> {
    /// Whether the card may be used today.
    pub(crate) fn check_validity(&self, today: CardDate) -> Result<(), Decline> {
        if today < self.public.start() {
            Err(Decline::NotYetValid(self.public.start()))
        } else if today > self.public.end() {
            Err(Decline::Expired(self.public.end()))
        } else {
            Ok(())
        }
    }
}

/// What to do after an answer to SELECT.
pub(crate) enum Next<'p> {
    /// This is the card.
    Selected(Selected<'p>),
    /// Try the AID of this number.
    TryAid(usize),
}

/// SELECT of the `n`th AID.
pub(crate) fn select(profile: &Profile, n: usize) -> Result<Apdu, Decline> {
    let aid = profile.aid(n).ok_or(Decline::NoPurse)?;
    apdu(|out| Select::Aid(aid).encode(out)).map_err(|_| Decline::NoPurse)
}

/// Reads the answer to SELECT of the `n`th AID.
pub(crate) fn selected<'p>(profile: &'p Profile, n: usize, answer: &[u8]) -> Result<Next<'p>, Decline> {
    let response = Response::parse(answer).map_err(|_| Decline::BadAnswer)?;
    match response.sw {
        StatusWord::OK => {}
        StatusWord::FUNCTION_NOT_SUPPORTED => return Err(Decline::Blocked),
        StatusWord::PERMANENTLY_BLOCKED => return Err(Decline::Blocked),
        StatusWord::FILE_NOT_FOUND => return Ok(Next::TryAid(n.saturating_add(1))),
        other => return Err(Decline::CardRefused(other)),
    }
    let public = Fci::parse(response.data).map_err(|_| Decline::BadAnswer)?.public;
    let id = CardId { issuer: public.issuer(), asn: public.asn() };
    let issuer = profile.issuer(id.issuer).ok_or(Decline::UnknownIssuer(id))?;
    Ok(Next::Selected(Selected { id, public, issuer }))
}
