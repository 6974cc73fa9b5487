//! The backend's books against cards and journals (`backend.md` section 1): per issuer, what is on cards is the posted float, and what
//! cards were loaded and the books do not have yet, less what cards paid and the books do not have yet.
//!
//! Every term is counted by itself. The float is added up from transfers. A booked record is matched with the debit of the card that its
//! TAC proves; a posted load with the credit that the card proves; merchants are owed what was taken at their terminal. A debit may be
//! missing only if nobody can know it: no record proves it and none that is known follows it. Two debits on one counter can only come of
//! a copied card: one is the float's, the others are the issuer's loss, to the cent.

use super::loads::{all_stories, stories};
use super::lost;
use super::{CardBook, Standing, TerminalBook, Violation, is_taken, replay};
use crate::sim::books::Books;
use crate::sim::slot::CardDebit;
use crate::sim::world::{merchant_id, terminal_id};
use backend::accounts::chart::Book;
use backend::accounts::{Transfer, TransferKind};
use backend::api::{AlertKind, BatchTotals, Tally};
use backend::report::{AuditException, BatchState};
use backend::store::{
    LoadState, OfflineRecord, RecordStanding, Transaction, TransactionKind, TransactionState,
};
use flow::record::{CardId, Resolution};
use protocol::ids::{IssuerId, OfflineCounter, SamTerminal, TermSeq};
use protocol::iso8583::f58::CardCounter;
use protocol::money::{CardAmount, Currency};
use protocol::purse::Tac;
use std::collections::{BTreeMap, BTreeSet};

/// Which debits of cards the terminals' records can claim at the backend.
#[derive(Debug, Default)]
pub struct Claims {
    /// By card and counter; more than one only if the card was copied.
    taken: BTreeMap<(CardId, OfflineCounter), Vec<Claim>>,
}

/// A record of a debit that a card really made.
#[derive(Clone, Copy, Debug)]
struct Claim {
    /// The terminal's index.
    index: usize,
    tac: Tac,
    amount: CardAmount,
    before: CardAmount,
    after: CardAmount,
    /// The record proves it by a TAC.
    proven: bool,
}

/// Matches records with what the cards did.
#[must_use]
pub fn claims(cards: &[CardBook<'_>], terminals: &[TerminalBook<'_>]) -> Claims {
    let mut claims = Claims::default();
    for (index, book) in terminals.iter().enumerate() {
        for (_, intent, standing) in replay(book, &mut Vec::new()) {
            let Some(card) = cards.iter().find(|card| card.id == intent.card) else { continue };
            let tac = match standing {
                Standing::Resolved(Resolution::Done { tac } | Resolution::RecoveredUnverified { tac }) => {
                    Some(tac)
                }
                Standing::Resolved(Resolution::Uncertain { tac, .. }) => tac,
                _ => continue,
            };
            let proven = tac.is_some_and(|tac| card.tac_key.verify(&intent.tac_terms(), &tac));
            if is_taken(card, intent) {
                let tac = card.tac_key.tac(&intent.tac_terms());
                let (before, after) = (intent.balance_before, intent.balance_after());
                let claim = Claim { index, tac, amount: intent.amount, before, after, proven };
                claims.taken.entry((card.id, intent.counter)).or_default().push(claim);
            }
        }
    }
    claims
}

impl Claims {
    fn at(&self, id: CardId, counter: OfflineCounter) -> &[Claim] {
        self.taken.get(&(id, counter)).map_or(&[], Vec::as_slice)
    }

    /// Whether the backend can know of a debit: by its TAC, or, if nobody copied the card, since the next one is known and says what was
    /// left.
    fn is_known(&self, id: CardId, counter: OfflineCounter, claim: &Claim, forked: bool) -> bool {
        if claim.proven || forked {
            return claim.proven;
        }
        let Some(next) = counter.next() else { return false };
        // A load in between hides what was left.
        let follows = |it: &Claim| it.before == claim.after && self.is_known(id, next, it, false);
        self.at(id, next).iter().any(follows) && self.is_grounded(id, counter)
    }

    /// Whether the backend can know what was on the card before this counter. Below a debit that was lost with a terminal's journal
    /// it cannot: what is above and not proved stays listed as a gap.
    fn is_grounded(&self, id: CardId, counter: OfflineCounter) -> bool {
        let Some(previous) = counter.0.checked_sub(1).map(OfflineCounter) else { return true };
        let below = self.at(id, previous);
        below.iter().any(|claim| claim.proven) || (!below.is_empty() && self.is_grounded(id, previous))
    }

    /// What a card lost and the backend cannot know.
    #[must_use]
    pub fn unknowable(&self, card: &CardBook<'_>) -> u64 {
        let known = |debit: &CardDebit| {
            let claims = self.at(card.id, debit.counter).iter();
            let mut own = claims.filter(|claim| claim.tac == debit.tac);
            own.any(|claim| self.is_known(card.id, debit.counter, claim, card.is_forked()))
        };
        card.debits().filter(|debit| !known(debit)).map(|debit| u64::from(debit.amount.0)).sum()
    }

    /// What the backend owes for a terminal's records, at least.
    #[must_use]
    pub fn of_terminal(&self, index: usize) -> u64 {
        let proven = self.taken.values().flatten().filter(|claim| claim.index == index && claim.proven);
        proven.map(|claim| u64::from(claim.amount.0)).sum()
    }
}

const CURRENCY: Currency = Currency::CNY;

/// Everything that must be true of the books when all is quiet.
#[must_use]
pub fn check(
    cards: &[CardBook<'_>],
    terminals: &[TerminalBook<'_>],
    books: &Books,
    audit: &[AuditException],
) -> Vec<Violation> {
    let mut found = Vec::new();
    let claims = claims(cards, terminals);
    let mut floats: BTreeMap<IssuerId, Terms> = BTreeMap::new();
    let mut paid: BTreeMap<usize, u64> = BTreeMap::new();
    for card in cards {
        let mut debits = Debits::default();
        for record in books.records.values().filter(|record| is_about(record, card.id)) {
            debits.take(card, terminals, record, books, &mut paid, &mut found);
        }
        if !card.is_forked() {
            lost::listed(card, &debits.owners, books, &mut found);
        }
        let terms = floats.entry(card.id.issuer).or_default();
        terms.on_cards += card.lives.iter().map(|life| minor(life.balance)).sum::<i128>();
        terms.copied += card.lives.iter().map(|life| minor(life.start)).sum::<i128>();
        terms.debits_unposted += debits.unposted(card, &claims, &mut found);
        terms.forks += debits.forks;
        terms.credits_unposted += loads(card, books, &mut found);
    }
    conservation(&floats, books, &mut found);
    merchants(terminals, &claims, &paid, books, &mut found);
    batches(terminals, books, &mut found);
    // A card whose old memory came back shows counters that decide nothing: its load stays open for a person to see.
    let stuck = |hold: &Transfer| {
        let load = books.loads.iter().find(|load| load.hold == hold.seq);
        load.is_some_and(|load| {
            let id = CardId { issuer: load.card.issuer, asn: load.card.asn };
            let open = matches!(load.state, LoadState::Consented | LoadState::Disputed);
            open && cards.iter().any(|card| card.id == id && card.is_forked())
        })
    };
    for hold in books.open_holds().into_iter().filter(|hold| !stuck(hold)) {
        found.push(Violation::Money(format!("hold {} is neither posted nor released", hold.seq.0)));
    }
    if !books.holds_agree() {
        found.push(Violation::Money("holds are not what the transfers make of them".into()));
    }
    let forked = |id: &CardId| cards.iter().any(|card| card.id == *id && card.is_forked());
    let explained = |exception: &&AuditException| match exception {
        AuditException::Conservation { issuer, asn, .. } => !forked(&CardId { issuer: *issuer, asn: *asn }),
        _ => true,
    };
    let audit = audit.iter().filter(explained);
    found.extend(audit.map(|exception| Violation::Backend(format!("audit: {exception:?}"))));
    found
}

const fn minor(amount: CardAmount) -> i128 {
    amount.0 as i128
}

fn is_about(record: &OfflineRecord, id: CardId) -> bool {
    (record.content.issuer, record.content.asn) == (id.issuer, id.asn)
}

/// The terms of the conservation of one issuer.
#[derive(Debug, Default)]
struct Terms {
    on_cards: i128,
    copied: i128,
    credits_unposted: i128,
    debits_unposted: i128,
    forks: i128,
}

fn conservation(floats: &BTreeMap<IssuerId, Terms>, books: &Books, found: &mut Vec<Violation>) {
    for (id, terms) in floats {
        let Some(issuer) = books.issuers.get(id) else {
            found.push(Violation::Money("an issuer is not in the books".into()));
            continue;
        };
        let float = books.net(Book::PurseFloat(issuer.number), CURRENCY);
        let loss = -books.net(Book::IssuerLoss(issuer.number), CURRENCY);
        let explained = float + terms.credits_unposted - terms.debits_unposted - terms.forks + terms.copied;
        if terms.on_cards != explained {
            let on_cards = terms.on_cards;
            found.push(Violation::Money(format!(
                "{on_cards} is on cards, and a float of {float} explains {explained}: {terms:?}"
            )));
        }
        if loss < terms.forks {
            let forks = terms.forks;
            found.push(Violation::Money(format!("forks cost {forks}, and the issuer's loss is {loss}")));
        }
    }
}

/// The debits of one card that the books have.
#[derive(Default)]
struct Debits {
    /// By counter and TAC's owner: which debits are booked.
    booked: BTreeSet<(OfflineCounter, SamTerminal, TermSeq)>,
    /// Counters whose float share is taken.
    owners: BTreeSet<OfflineCounter>,
    sum: i128,
    forks: i128,
}

impl Debits {
    fn take(
        &mut self,
        card: &CardBook<'_>,
        terminals: &[TerminalBook<'_>],
        record: &OfflineRecord,
        books: &Books,
        paid: &mut BTreeMap<usize, u64>,
        found: &mut Vec<Violation>,
    ) {
        let (content, standing) = (&record.content, record.standing);
        let number = format!("record {} of SAM {}", content.term_seq.0, content.terminal);
        let mut wrong = |what: &str| found.push(Violation::Money(format!("{number}: {what}")));
        let posted =
            matches!(standing, RecordStanding::Booked | RecordStanding::Fork | RecordStanding::Resolved);
        let transfer = record.transfer.and_then(|seq| books.transfers.iter().find(|it| it.seq == seq));
        if !posted || content.amount.0 == 0 {
            if transfer.is_some() {
                wrong("it moved money and should not have");
            }
            return;
        }
        let CardCounter::Offline(counter) = content.counter else {
            return wrong("it has no offline counter");
        };
        let terms = backend::cards::tac_terms(content);
        let tac = card.tac_key.tac(&terms);
        if !card.debits().any(|debit| debit.counter == counter && debit.tac == tac) {
            wrong("it is booked, and the card made no such debit");
        }
        let Some(index) = terminals.iter().position(|book| book.number == content.terminal) else {
            return wrong("it is booked for nobody's SAM");
        };
        if !transfer.is_some_and(|transfer| is_payment(transfer, record, index, books)) {
            wrong("its transfer is missing, or goes elsewhere");
        }
        *paid.entry(index).or_default() += u64::from(content.amount.0);
        self.booked.insert((counter, content.terminal, content.term_seq));
        self.sum += minor(content.amount);
        if standing == RecordStanding::Fork {
            self.forks += minor(content.amount);
            if !card.is_forked() {
                wrong("it is booked as a fork of a card that nobody copied");
            }
        } else if !self.owners.insert(counter) {
            wrong("its counter was booked from the float before");
        }
    }

    /// What the card paid and the books do not have; each must be one that nobody can know.
    fn unposted(&self, card: &CardBook<'_>, claims: &Claims, found: &mut Vec<Violation>) -> i128 {
        let debited: i128 = card.debits().map(|debit| minor(debit.amount)).sum();
        let unposted = debited - self.sum;
        let unknowable = i128::from(claims.unknowable(card));
        // What the books have is checked debit by debit; they may know more of the chain than is counted as certain here.
        if !(0..=unknowable).contains(&unposted) {
            let lost = u64::try_from(debited).unwrap_or(0);
            let booked = u64::try_from(self.sum).unwrap_or(0);
            let unknown = u64::try_from(unknowable).unwrap_or(0);
            found.push(Violation::Booked { card: card.id, lost, booked, unknown });
        }
        unposted
    }
}

/// Whether a transfer pays this record: from the float or the loss, to the merchant whose SAM it was.
fn is_payment(transfer: &Transfer, record: &OfflineRecord, index: usize, books: &Books) -> bool {
    let issuer = books.issuers.get(&record.content.issuer);
    let merchant = books.merchants.get(&merchant_id(index));
    let (Some(issuer), Some(merchant)) = (issuer, merchant) else { return false };
    let from = match record.standing {
        RecordStanding::Fork => Book::IssuerLoss(issuer.number),
        RecordStanding::Resolved => Book::PurseSuspense(issuer.number),
        _ => Book::PurseFloat(issuer.number),
    };
    let to = Book::MerchantPayable(merchant.number).id(CURRENCY);
    (transfer.debit, transfer.credit, transfer.kind) == (from.id(CURRENCY), to, TransferKind::Posted)
        && transfer.amount.minor() == u64::from(record.content.amount.0)
}

/// Posted loads are credits that the card proves, each once. Returns what the card was credited and the books do not have.
fn loads(card: &CardBook<'_>, books: &Books, found: &mut Vec<Violation>) -> i128 {
    let mut wrong = |what: String| found.push(Violation::Load(card.id, what));
    let mut posted = 0;
    let about =
        |load: &&backend::store::Load| (load.card.issuer, load.card.asn) == (card.id.issuer, card.id.asn);
    for load in books.loads.iter().filter(about).filter(|load| load.state.is_booked()) {
        // Of several that were asked for, without a proof, the money is the same whichever it was, and its time is not known.
        let any_time = load.state == LoadState::Presumed;
        let true_one = card.credits().any(|credit| {
            (credit.counter, u64::from(credit.amount.0)) == (load.counter, load.amount.minor())
                && (any_time || credit.moment == load.moment)
        });
        if !true_one {
            wrong(format!("load {} is posted, and the card was not credited", load.counter.0));
        }
        let asked = books.transactions.values().filter(|it| {
            it.load == Some((load.card, load.counter)) && it.kind != TransactionKind::LoadConfirm
        });
        let asked: Vec<_> = asked.collect();
        let booked: Vec<_> = asked.iter().filter(|it| it.state == TransactionState::Completed).collect();
        if booked.len() != 1 {
            wrong(format!("load {} is {} transactions", load.counter.0, booked.len()));
        }
        // Which of several alike was credited moves no money: the transfer may be the one of another that the counter or a person had taken.
        let alike = |of: &Transaction| booked.iter().any(|it| (it.payer, it.amount) == (of.payer, of.amount));
        let alike: Vec<_> = asked.iter().filter(|it| alike(it)).map(|it| it.seq).collect();
        let moves = |transfer: &&Transfer| {
            transfer.transaction.is_some_and(|seq| alike.contains(&seq))
                && transfer.credit == float_of(card, books)
                && transfer.amount == load.amount
        };
        match books.posted().filter(moves).count() {
            1 => {}
            n => wrong(format!("load {} is posted {n} times", load.counter.0)),
        }
        posted += i128::from(load.amount.minor());
    }
    let credited: i128 = card.credits().map(|credit| minor(credit.amount)).sum();
    let unposted = credited - posted;
    if unposted != 0 && !card.is_forked() {
        wrong(format!("the card was credited {credited}, and {posted} is posted"));
    }
    unposted
}

fn float_of(card: &CardBook<'_>, books: &Books) -> backend::accounts::AccountId {
    let number = books.issuers.get(&card.id.issuer).map(|issuer| issuer.number);
    number.map(|number| Book::PurseFloat(number).id(CURRENCY)).unwrap_or(Book::Escrow.id(CURRENCY))
}

fn merchants(
    terminals: &[TerminalBook<'_>],
    claims: &Claims,
    paid: &BTreeMap<usize, u64>,
    books: &Books,
    found: &mut Vec<Violation>,
) {
    for index in 0..terminals.len() {
        let id = merchant_id(index);
        let Some(merchant) = books.merchants.get(&id) else {
            found.push(Violation::Money(format!("{id:?} is not in the books")));
            continue;
        };
        let owed = books.net(Book::MerchantPayable(merchant.number), CURRENCY);
        let booked = i128::from(paid.get(&index).copied().unwrap_or(0));
        let least = i128::from(claims.of_terminal(index));
        if owed != booked || owed < least {
            let what = format!(
                "{id:?} is owed {owed}; its records are worth {booked}, of which {least} are certain"
            );
            found.push(Violation::Money(what));
        }
    }
}

/// Totals of batches are sums over their rows; a batch is settled once.
fn batches(terminals: &[TerminalBook<'_>], books: &Books, found: &mut Vec<Violation>) {
    for ((terminal, number), batch) in &books.batches {
        let rows = || {
            books
                .transactions
                .values()
                .filter(|row| (row.identity.terminal, row.identity.batch) == (*terminal, *number))
        };
        let counted = |record: &&OfflineRecord| {
            let counts = matches!(
                record.standing,
                RecordStanding::Booked | RecordStanding::Fork | RecordStanding::Zero
            );
            counts && rows().any(|row| row.seq == record.transaction)
        };
        let records = books.records.values().filter(counted);
        let records = records.fold(Tally::default(), |sum, it| sum.plus(u64::from(it.content.amount.0)));
        let stands = |row: &&Transaction| {
            use TransactionState::{Declined, Disputed, Reversed};
            !matches!(row.state, Declined | Disputed | Reversed)
        };
        let sum = |sum: Tally, row: &Transaction| sum.plus(row.amount.map_or(0, |amount| amount.minor()));
        let debits = rows().filter(stands).filter(|row| row.kind.is_debit()).fold(records, sum);
        let credits = rows().filter(stands).filter(|row| row.kind.is_credit()).fold(Tally::default(), sum);
        let BatchTotals { debits: host, credits: host_credits, .. } = batch.host;
        if (debits, credits) != (host, host_credits) {
            let rows = format!("its rows are {debits:?} and {credits:?}");
            let totals = format!("its totals {host:?} and {host_credits:?}");
            found.push(Violation::Batch(format!("{terminal} {}: {rows}, {totals}", number.0)));
        }
        let ends = rows().filter(|row| {
            matches!(row.kind, TransactionKind::Settle | TransactionKind::UploadEnd) && row.code.is_approved()
        });
        let (ends, closed) = (ends.count(), batch.state == BatchState::Closed);
        if ends != usize::from(closed) {
            let what = format!("{terminal} {} was ended {ends} times, and is {:?}", number.0, batch.state);
            found.push(Violation::Batch(what));
        }
    }
    for index in 0..terminals.len() {
        let open = books.batches.iter().filter(|((terminal, _), batch)| {
            *terminal == terminal_id(index) && batch.state != BatchState::Closed
        });
        if open.count() > 1 {
            found.push(Violation::Batch(format!("{} has two open batches", terminal_id(index))));
        }
    }
}

/// Nobody who is honest is accused. Of a card that was not credited by every load that was asked for it, a request may come late; then it looks as if the
/// card's memory had come back: a request does not say when the card made it. But it frees nothing: no load finds its money gone.
#[must_use]
pub fn accused(cards: &[CardBook<'_>], terminals: &[TerminalBook<'_>], books: &Books) -> Vec<Violation> {
    let asked: Vec<CardId> = terminals.iter().flat_map(all_stories).map(|story| story.intent.card).collect();
    let may_be_late = |id: &CardId| {
        let credits: usize =
            cards.iter().filter(|card| card.id == *id).map(|card| card.credits().count()).sum();
        asked.iter().filter(|asked| *asked == id).count() > credits
    };
    let mut found = Vec::new();
    for alert in &books.alerts {
        let Some((issuer, asn)) = alert.card else { continue };
        let id = CardId { issuer, asn };
        let accuses = match alert.kind {
            AlertKind::Fork | AlertKind::LoadLoss | AlertKind::LateLoad => true,
            AlertKind::Rollback => !may_be_late(&id),
            _ => false,
        };
        if accuses && !cards.iter().any(|card| card.id == id && card.is_forked()) {
            found.push(Violation::Backend(format!("{:?} of a card that nobody copied", alert.kind)));
        }
    }
    found
}

/// Loads of honest cards that still wait at a terminal.
#[must_use]
pub fn loads_waiting(cards: &[CardBook<'_>], terminals: &[TerminalBook<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    for book in terminals {
        for story in stories(book) {
            let forked = cards.iter().any(|card| card.id == story.intent.card && card.is_forked());
            let open = story.state == Some(flow::record::LoadState::CreditSent);
            if open && !forked {
                let what = format!("load {} still waits for its card", story.id.0);
                found.push(Violation::StillWaits(book.number, what));
            }
        }
    }
    found
}
