//! What a person says about loads that no card has decided (`backend.md` section 4): none was credited, or this one was.

use super::Outcome;
use super::perform::{Context, Done, issuer_id, serial, unknown, value};
use backend::accounts::TransactionSeq;
use backend::api::{AdminAnswer, AdminRequest, Query, Report, transaction_of};
use console::{Failure, code};
use protocol::ids::{Asn, IssuerId, OnlineCounter};
use protocol::iso8583::typed::RetrievalReference;
use protocol::money::Amount;

/// A load of a card, as an operator names it.
struct NamedLoad {
    issuer: IssuerId,
    asn: Asn,
    counter: OnlineCounter,
    transaction: TransactionSeq,
    name: String,
}

impl NamedLoad {
    fn read((issuer, asn): (&str, &str), counter: u16, reference: &str) -> Result<Self, Failure> {
        let of = reference.as_bytes().try_into().ok().and_then(RetrievalReference::from_bytes);
        let transaction = of.and_then(transaction_of);
        Ok(Self {
            issuer: issuer_id(issuer)?,
            asn: serial(asn)?,
            counter: OnlineCounter(counter),
            transaction: transaction.ok_or_else(|| value("reference", reference, "12 characters"))?,
            name: format!("{asn}/{counter}"),
        })
    }

    fn refused(&self, why: &dyn std::fmt::Display) -> Failure {
        let refused = Failure::new(code::GATEWAY_REFUSED).with("what", "load");
        refused.with("name", &self.name).with("reason", why)
    }
}

impl Context<'_> {
    /// Releases the loads at a counter. Which one is open is asked first, so that a wrong counter is answered with the right one.
    pub(super) fn release(&mut self, (issuer, asn): (&str, &str), counter: u16, reference: &str) -> Done {
        let named = NamedLoad::read((issuer, asn), counter, reference)?;
        let Report::Card(report) = self.desk.query(Query::Card(named.issuer, named.asn))? else {
            return Err(unknown("card", asn));
        };
        if let Some(open) = report.open_counter.filter(|open| *open != named.counter) {
            return Err(named.refused(&format_args!("the open load of this card has counter {open}")));
        }
        let NamedLoad { issuer: of, asn: card, counter: at, transaction, .. } = named;
        let release = AdminRequest::ReleaseLoad { issuer: of, asn: card, counter: at, transaction };
        match self.desk.admin(release)? {
            AdminAnswer::Refused(why) => Err(named.refused(&why)),
            AdminAnswer::Exists => {
                Ok(Outcome::Registered { what: "released".to_owned(), name: named.name, existed: true })
            }
            AdminAnswer::Done | AdminAnswer::Count(_) => Ok(Outcome::LoadReleased {
                issuer: issuer.to_owned(),
                asn: asn.to_owned(),
                counter,
                amount: Amount::new(report.open_loads, report.currency).to_string(),
            }),
        }
    }

    /// Books one of several loads that a card asked for at one counter.
    pub(super) fn credit(&mut self, (issuer, asn): (&str, &str), counter: u16, reference: &str) -> Done {
        let named = NamedLoad::read((issuer, asn), counter, reference)?;
        let NamedLoad { issuer: of, asn: card, counter: at, transaction, .. } = named;
        match self.desk.admin(AdminRequest::CreditLoad { issuer: of, asn: card, counter: at, transaction })? {
            AdminAnswer::Refused(why) => Err(named.refused(&why)),
            AdminAnswer::Done | AdminAnswer::Exists | AdminAnswer::Count(_) => Ok(Outcome::LoadCredited {
                issuer: issuer.to_owned(),
                asn: asn.to_owned(),
                counter,
                reference: reference.to_owned(),
            }),
        }
    }
}
