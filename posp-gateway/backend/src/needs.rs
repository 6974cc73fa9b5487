//! What a batch will surely read, known from its requests: so that a store behind a network reads it in a few round trips instead
//! of one for each. What is missing here is only slower, never wrong: every decision still asks the store.

use crate::accounts::chart::{Book, FundingKind};
use crate::api::{AdminRequest, HostBody, HostRequest, Identity, LimitScope, LoadSource, Original, Request};
use crate::store::{CardId, Key, Record, Store, StoreFault, UsageOf, transaction_of};
use protocol::ids::{OfflineCounter, OnlineCounter};
use protocol::iso8583::f58::{CardCounter, TransactionRecord};
use protocol::time::Wall;

/// Reads for a batch: what the requests name, then what that leads to, twice.
///
/// # Errors
/// The store failed.
pub(crate) fn prefetch<S: Store>(
    store: &mut S,
    batch: &[Request],
    due: (Wall, usize),
) -> Result<(), StoreFault> {
    let mut keys: Vec<Key> = batch.iter().flat_map(named).collect();
    store.prefetch(&keys, Some(due))?;
    for hold in store.due_holds(due.0, due.1)? {
        keys.push(Key::Hold(hold.seq));
    }
    for _ in 0..3 {
        let mut next = Vec::new();
        for key in &keys {
            if let Some(record) = store.get(key)? {
                lead(&record, &mut next);
            }
        }
        if next.is_empty() {
            return Ok(());
        }
        store.prefetch(&next, None)?;
        keys = next;
    }
    Ok(())
}

/// The keys that a request names itself.
fn named(request: &Request) -> Vec<Key> {
    let mut keys = Vec::new();
    match request {
        Request::Host(request) => host(request, &mut keys),
        Request::Admin(request) => admin(request, &mut keys),
    }
    keys
}

fn host(request: &HostRequest, keys: &mut Vec<Key>) {
    let identity = request.identity;
    keys.extend([
        Key::Terminal(identity.terminal),
        Key::Merchant(identity.merchant),
        Key::Batch(identity.terminal, identity.batch),
        Key::Identity(identity),
    ]);
    match &request.body {
        HostBody::Balance { payer } => keys.push(Key::Payer(*payer)),
        HostBody::Purchase { payer, .. } | HostBody::PreAuthorise { payer, .. } => {
            keys.push(Key::Payer(*payer));
            limited(&identity, keys);
        }
        HostBody::Void { original, .. }
        | HostBody::Refund { original, .. }
        | HostBody::PreAuthorisationVoid { original, .. }
        | HostBody::CompletionVoid { original, .. } => {
            earlier(&identity, original, keys);
        }
        HostBody::Complete { payer, original, .. } => {
            keys.push(Key::Payer(*payer));
            earlier(&identity, original, keys);
        }
        HostBody::Load { source, request } => {
            let card = CardId { issuer: request.issuer, asn: request.asn };
            keys.extend([Key::Issuer(request.issuer), Key::Card(card), Key::Sam(request.terminal)]);
            if *source == LoadSource::Linked {
                keys.push(Key::Load(card, request.counter));
                keys.extend(
                    request.counter.0.checked_sub(1).map(|before| Key::Load(card, OnlineCounter(before))),
                );
            }
        }
        HostBody::LoadConfirm { record, .. } => record_keys(record, keys),
        HostBody::OfflineRecords { records } => records.iter().for_each(|record| record_keys(record, keys)),
        HostBody::Reversal { .. }
        | HostBody::Settle { .. }
        | HostBody::Upload { .. }
        | HostBody::UploadEnd => {}
    }
}

fn limited(identity: &Identity, keys: &mut Vec<Key>) {
    keys.extend([
        Key::Limit(LimitScope::Terminal(identity.terminal)),
        Key::Limit(LimitScope::Merchant(identity.merchant)),
    ]);
}

fn earlier(identity: &Identity, original: &Original, keys: &mut Vec<Key>) {
    if let Some(seq) = original.reference.and_then(transaction_of) {
        keys.push(Key::Transaction(seq));
    }
    if let Some((batch, trace)) = original.trace {
        keys.push(Key::Identity(Identity { batch, trace, ..*identity }));
    }
}

fn record_keys(record: &TransactionRecord, keys: &mut Vec<Key>) {
    let card = CardId { issuer: record.issuer, asn: record.asn };
    keys.extend([
        Key::Issuer(record.issuer),
        Key::Card(card),
        Key::Sam(record.terminal),
        Key::Record(record.terminal, record.term_seq),
    ]);
    match record.counter {
        CardCounter::Online(counter) => keys.push(Key::Load(card, counter)),
        CardCounter::Offline(counter) => {
            keys.extend([Key::Claim(card, counter), Key::Resolution(card, counter)]);
            if let Some(before) = counter.0.checked_sub(1) {
                keys.push(Key::Claim(card, OfflineCounter(before)));
            }
        }
    }
}

fn admin(request: &AdminRequest, keys: &mut Vec<Key>) {
    match request {
        AdminRequest::AddIssuer { issuer, currency, .. } => {
            keys.extend([Key::Issuer(*issuer), Key::Registry]);
            keys.extend(Book::SYSTEM.map(|book| Key::Account(book.id(*currency))));
        }
        AdminRequest::AddMerchant { merchant, currency, .. } => {
            keys.extend([Key::Merchant(*merchant), Key::Registry]);
            keys.extend(Book::SYSTEM.map(|book| Key::Account(book.id(*currency))));
        }
        AdminRequest::AddTerminal { terminal, merchant, .. } => {
            keys.extend([Key::Terminal(*terminal), Key::Merchant(*merchant)]);
        }
        AdminRequest::AssignSam { sam, terminal, .. } => {
            keys.extend([Key::Sam(*sam), Key::Terminal(*terminal)]);
        }
        AdminRequest::WithdrawSam { sam, .. } => keys.push(Key::Sam(*sam)),
        AdminRequest::AddFunding { kind, number, currency }
        | AdminRequest::CloseFunding { kind, number, currency } => {
            keys.push(Key::Account(Book::Funding(*kind, *number).id(*currency)));
        }
        AdminRequest::Fund { kind, number, amount, reference } => {
            let currency = amount.currency();
            keys.extend([Key::Account(Book::Funding(*kind, *number).id(currency)), Key::Arrival(*reference)]);
            keys.extend(Book::SYSTEM.map(|book| Key::Account(book.id(currency))));
        }
        AdminRequest::AddPayer { token, kind, number, currency } => {
            keys.extend([Key::Payer(*token), Key::Account(Book::Funding(*kind, *number).id(*currency))]);
        }
        AdminRequest::AddCard { issuer, asn, .. }
        | AdminRequest::SetCardKeys { issuer, asn, .. }
        | AdminRequest::SetCardStatus { issuer, asn, .. } => {
            keys.extend([Key::Issuer(*issuer), Key::Card(CardId { issuer: *issuer, asn: *asn })]);
        }
        AdminRequest::ReleaseLoad { issuer, asn, counter, transaction }
        | AdminRequest::CreditLoad { issuer, asn, counter, transaction } => {
            let card = CardId { issuer: *issuer, asn: *asn };
            keys.extend([Key::Issuer(*issuer), Key::Card(card), Key::Load(card, *counter)]);
            keys.push(Key::Transaction(*transaction));
        }
        AdminRequest::SetLimit(limit) => {
            keys.push(Key::Limit(limit.scope));
            match limit.scope {
                LimitScope::Kind(_) => {}
                LimitScope::Payer(account) => keys.push(Key::Account(account)),
                LimitScope::Terminal(terminal) => keys.push(Key::Terminal(terminal)),
                LimitScope::Merchant(of) => keys.extend([Key::Merchant(of), Key::Shares(of)]),
            }
        }
        AdminRequest::DecideUncertain { sam, seq, .. } => {
            keys.extend([Key::Record(*sam, *seq), Key::Sam(*sam)]);
        }
        AdminRequest::ResolveUncertain { .. }
        | AdminRequest::RetryHeld { .. }
        | AdminRequest::TellGaps { .. } => {}
    }
}

/// What a decision that reads this record goes on to read.
fn lead(record: &Record, keys: &mut Vec<Key>) {
    match record {
        Record::Identity(_, seq) => keys.push(Key::Transaction(*seq)),
        Record::Payer(_, account) => {
            keys.extend([Key::Account(*account), Key::Limit(LimitScope::Payer(*account))]);
            keys.extend(FundingKind::of(*account).map(|kind| Key::Limit(LimitScope::Kind(kind))));
        }
        Record::Limit(limit) => match limit.scope {
            LimitScope::Payer(account) => keys.push(Key::Usage(UsageOf::Payer(account))),
            LimitScope::Terminal(terminal) => keys.push(Key::Usage(UsageOf::Terminal(terminal))),
            LimitScope::Merchant(merchant) => keys.push(Key::Shares(merchant)),
            LimitScope::Kind(_) => {}
        },
        Record::Merchant(merchant) => {
            keys.push(Key::Account(Book::MerchantPayable(merchant.number).id(merchant.currency)));
        }
        Record::Issuer(issuer) => {
            let books = Book::of_issuer(issuer.number).map(|book| book.id(issuer.currency));
            keys.extend(books.map(Key::Account));
        }
        Record::Transaction(it) => {
            keys.extend(it.transfer.map(Key::Hold));
            keys.extend(it.payer.into_iter().chain(it.payee).map(Key::Account));
            keys.extend(it.original.map(Key::Transaction));
            keys.extend(it.load.map(|(card, counter)| Key::Load(card, counter)));
            keys.push(Key::Batch(it.identity.terminal, it.identity.batch));
        }
        Record::Hold(hold) => {
            keys.extend([Key::Account(hold.debit), Key::Account(hold.credit)]);
            keys.extend(hold.transaction.map(Key::Transaction));
        }
        Record::Card(card) => {
            keys.extend(card.funding.map(Key::Account));
            keys.extend(card.open_load.map(|counter| Key::Load(card.id, counter)));
        }
        Record::Load(load) => {
            keys.extend([Key::Hold(load.hold), Key::Transaction(load.transaction), Key::Account(load.payer)]);
        }
        Record::Claim(_, _, sam, seq) | Record::Resolution(_, _, sam, seq) => {
            keys.push(Key::Record(*sam, *seq))
        }
        Record::Sam(sam) => {
            keys.extend(
                sam.assignments.last().and_then(|(_, place)| *place).map(|(_, id)| Key::Merchant(id)),
            );
        }
        _ => {}
    }
}
