//! Who may know what: merchants and partners see no payer, no account and no balance, by the types of what they are given and by what it says.

use super::world::*;
use crate::accounts::AccountId;
use crate::accounts::chart::{Book, FundingKind, FundingNumber};
use crate::api::*;
use crate::report::{BatchReport, Difference, Statement, StatementLine};
use crate::store::Store;
use protocol::ids::*;
use protocol::time::Wall;

/// A balance that no amount of the day could be mistaken for.
const BALANCE: u64 = 918_273_645;

fn suffices<S: Store>(world: &mut World<S>, account: AccountId, minor: u64) -> Report {
    world.engine.query(&Query::Suffices { account, amount: cny(minor) }).unwrap()
}

pub(super) fn a_partner_learns_whether_an_amount_suffices_and_nothing_else<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(1_000, 1);
    let account = Book::Funding(FundingKind::Bank, FundingNumber(1)).id(CNY);
    assert_eq!(suffices(&mut world, account, 1_000), Report::Suffices(true));
    assert_eq!(suffices(&mut world, account, 1_001), Report::Suffices(false));
    world.send(HostBody::PreAuthorise { payer: PAYER, amount: cny(600) });
    assert_eq!(suffices(&mut world, account, 401), Report::Suffices(false), "held money is not there");
    assert_eq!(suffices(&mut world, account, 400), Report::Suffices(true));
    // Not even whether there is such an account, or whose it is.
    let nobody = Book::Funding(FundingKind::Carrier, FundingNumber(999)).id(CNY);
    assert_eq!(suffices(&mut world, nobody, 0), Report::Suffices(false));
    let merchants = Book::MerchantPayable(crate::accounts::chart::MerchantNumber(1)).id(CNY);
    assert_eq!(suffices(&mut world, merchants, 1), Report::Suffices(false));
    let (kind, number) = (FundingKind::Bank, FundingNumber(1));
    let close = AdminRequest::CloseFunding { kind, number, currency: CNY };
    assert_eq!(world.admin(close.clone()), AdminAnswer::Done);
    assert_eq!(world.admin(close), AdminAnswer::Exists);
    assert_eq!(suffices(&mut world, account, 1), Report::Suffices(false), "a closed account pays nothing");
    assert_eq!(world.send(HostBody::Purchase { payer: PAYER, amount: cny(1) }).code, code("62"));
    assert_eq!(world.audit().exceptions, []);
}

/// What a merchant is given, taken apart: a field that is added later does not compile here before somebody has judged it.
fn of_types(statement: Statement, batch: BatchReport, answer: HostAnswer) {
    let Statement { merchant, name, lines, payable, currency } = statement;
    let _: (MerchantId, String, i128, protocol::money::Currency) = (merchant, name, payable, currency);
    for line in lines {
        let StatementLine { at, transaction, kind, amount, credit } = line;
        let _: (Wall, _, crate::report::LineKind, _, bool) = (at, transaction, kind, amount, credit);
    }
    let BatchReport { terminal, batch, state, host, of_terminal, differences } = batch;
    let _: (TerminalId, BatchNo, _, BatchTotals, Option<BatchTotals>) =
        (terminal, batch, state, host, of_terminal);
    for difference in differences {
        let Difference { side, key, terminal, host } = difference;
        // A trace, or a SAM and its sequence: what the terminal itself calls it.
        match key {
            ItemKey::Trace(_) | ItemKey::Record(..) => {}
        }
        let _: (Side, Option<protocol::money::Amount>, _) = (side, terminal, host);
    }
    let HostAnswer { code, reference, authorisation, moment, amount, repeat, body } = answer;
    let _ = (code, reference, authorisation, moment, amount, repeat);
    match body {
        // Told to the cardholder who asked with the card, and to nobody else.
        AnswerBody::Balance(_) => {}
        // Totals, and differences as above.
        AnswerBody::Closed { .. } => {}
        AnswerBody::None | AnswerBody::Load { .. } | AnswerBody::Records(_) | AnswerBody::Totals(_) => {}
    }
}

/// Everything that would give a payer away, in every spelling in which it could be printed.
fn secrets<S: Store>(world: &mut World<S>, asn: Asn) -> Vec<String> {
    let account = Book::Funding(FundingKind::Bank, FundingNumber(1)).id(CNY).0;
    let balance = world.available();
    assert!(balance > 900_000_000);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let PayerToken(token) = PAYER;
    vec![
        format!("{token:?}"),
        hex(&token),
        account.to_string(),
        format!("{account:x}"),
        hex(&account.to_be_bytes()),
        BALANCE.to_string(),
        cny(BALANCE).to_string(),
        balance.to_string(),
        cny(balance).to_string(),
        hex(&asn.0),
        format!("{:?}", asn.0),
    ]
}

pub(super) fn nothing_that_a_merchant_reads_names_a_payer_an_account_or_a_balance<S: Store>(store: S) {
    let mut world = World::new(store);
    world.fund(BALANCE, 1);
    let mut card = world.card(0xC7);
    let mut answers = Vec::new();
    let mut told = |world: &mut World<S>, body: HostBody| {
        let message = world.message(t1(), body);
        answers.push(world.host(message));
        answers.last().unwrap().clone()
    };
    let bought = told(&mut world, HostBody::Purchase { payer: PAYER, amount: cny(123) });
    told(&mut world, HostBody::Purchase { payer: PAYER, amount: cny(BALANCE + 1) });
    told(&mut world, HostBody::Purchase { payer: PayerToken([9; 16]), amount: cny(1) });
    let held = told(&mut world, HostBody::PreAuthorise { payer: PAYER, amount: cny(456) });
    let named = |answer: &HostAnswer| Original {
        reference: answer.reference,
        trace: None,
        authorisation: answer.authorisation,
    };
    let amount = cny(450);
    let done =
        told(&mut world, HostBody::Complete { payer: PAYER, original: named(&held), amount, advice: false });
    told(&mut world, HostBody::CompletionVoid { original: named(&done), amount });
    let (original, amount) = (named(&held), cny(456));
    told(&mut world, HostBody::PreAuthorisationVoid { original, amount });
    world.loaded(&mut card, 5_000);
    let records = vec![card.pay(300, SAM_1, 1), card.pay(20, STRANGER, 1)];
    told(&mut world, HostBody::OfflineRecords { records });
    let totals = BatchTotals { debits: Tally { minor: 7, count: 1 }, ..BatchTotals::default() };
    assert_eq!(told(&mut world, HostBody::Settle { totals }).code, code("95"));
    let item = UploadItem { side: Side::Debit, key: ItemKey::Trace(Stan(777)), amount: cny(7) };
    told(&mut world, HostBody::Upload { items: vec![item] });
    assert_eq!(told(&mut world, HostBody::UploadEnd).code, code("00"));
    world.batch += 1;
    told(&mut world, HostBody::Refund { original: named(&bought), amount: cny(23) });
    let statement = world.statement(shop());
    let Report::Batch(batch) = world.engine.query(&Query::Batch(t1(), BatchNo(1))).unwrap() else { panic!() };
    assert!(statement.lines.len() >= 4 && batch.differences.len() >= 3, "{statement:?} {batch:?}");

    let mut read = format!("{statement:?}\n{batch:?}\n");
    // The amounts a terminal asked for are its own; the host's echo of them says nothing new.
    let says = |answer: &HostAnswer| HostAnswer { amount: None, ..answer.clone() };
    answers.iter().for_each(|answer| read.push_str(&format!("{:?}\n", says(answer))));
    for secret in secrets(&mut world, card.asn) {
        assert!(!read.contains(&secret), "{secret} in {read}");
    }
    let answer = answers.remove(0);
    of_types(statement, batch, answer);
}
