//! The journal across restarts: open debits, batches, searches, and rows that do not fit their entries.

use super::*;
use flow::record::{Resolution, Uncertainty};
use protocol::ids::{Factor, KeyVersion, OfflineCounter, SamTerminal, TermSeq};
use protocol::money::{Amount, CardAmount, Currency};
use protocol::purse::{
    Algorithm, CappDigest, CardRandom, File15Digest, Moment, Overdraft, Tac, TransactionType,
};
use protocol::time::{CardDate, CardTime};
use std::path::PathBuf;

const WALL: Wall = Wall(1_795_305_599_000);

fn intent(serial: u8, amount: u32) -> DebitIntent {
    DebitIntent {
        card: CardId {
            issuer: "5441504C494E4500".parse().unwrap(),
            asn: format!("621700000012345678{serial:02X}").parse().unwrap(),
        },
        currency: Currency::CNY,
        algorithm: Algorithm::from_byte(0x10).unwrap(),
        key_version: KeyVersion(1),
        random: CardRandom::from8([7; 8]),
        counter: OfflineCounter(5),
        balance_before: CardAmount(10_000),
        overdraft: Overdraft::ZERO,
        amount: CardAmount(amount),
        kind: TransactionType::Purchase,
        terminal: SamTerminal([0, 0, 0, 0, 0, 0x42]),
        term_seq: TermSeq(17),
        moment: Moment {
            date: CardDate::new(2026, 11, 22).unwrap(),
            time: CardTime::new(18, 30, 5).unwrap(),
        },
        digest: CappDigest::default(),
        file15: File15Digest([9; 8]),
        factors: [Factor([1; 8])].into_iter().collect(),
    }
}

fn new() -> (tempfile::TempDir, PathBuf, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let journal = Journal::create(&path).unwrap();
    (folder, path, journal)
}

fn begin(journal: &mut Journal, intent: &DebitIntent) -> Result<RecordId, StoreFault> {
    Ok(journal.commit(&Batch::of(JournalEntry::Intent(intent.clone()), WALL))?[0])
}

fn resolve(journal: &mut Journal, id: RecordId, resolution: Resolution) -> Result<RecordId, StoreFault> {
    Ok(journal.commit(&Batch::of(JournalEntry::Resolved { intent: id, resolution }, WALL))?[0])
}

fn done() -> Resolution {
    Resolution::Done { tac: Tac::from8([0xA1; 8]) }
}

fn all(text: Option<&str>) -> Search {
    let text = text.map(str::to_owned);
    Search { text, currency: Currency::CNY, from: None, to: None, uncertain: false, limit: 50 }
}

#[test]
fn an_open_debit_is_found_by_its_card_after_a_restart_with_everything_recovery_needs() {
    let (_folder, path, mut journal) = new();
    let (first, second) = (intent(1, 1250), intent(2, 300));
    let id = begin(&mut journal, &first).unwrap();
    begin(&mut journal, &second).unwrap();
    drop(journal);
    let mut journal = Journal::open(&path).unwrap();
    assert_eq!(journal.open_debit(&first.card).unwrap(), Some((id, first.clone())));
    assert_eq!(journal.open_debit(&intent(3, 1).card).unwrap(), None);
    resolve(&mut journal, id, done()).unwrap();
    assert_eq!(journal.open_debit(&first.card).unwrap(), None);
    assert_eq!(journal.verify(), Ok(Inventory { entries: 3, payments: 2, open: 1, loads: 0 }));
}

#[test]
fn a_card_never_has_two_open_debits() {
    let (_folder, _path, mut journal) = new();
    let id = begin(&mut journal, &intent(1, 1250)).unwrap();
    assert!(matches!(begin(&mut journal, &intent(1, 300)), Err(StoreFault::Damaged(_))));
    resolve(&mut journal, id, Resolution::Void).unwrap();
    assert_eq!(begin(&mut journal, &intent(1, 300)), Ok(RecordId(3)));
    assert_eq!(journal.verify(), Ok(Inventory { entries: 3, payments: 2, open: 1, loads: 0 }));
}

#[test]
fn a_payment_is_resolved_once() {
    let (_folder, _path, mut journal) = new();
    let id = begin(&mut journal, &intent(1, 1250)).unwrap();
    assert!(resolve(&mut journal, RecordId(9), done()).is_err());
    resolve(&mut journal, id, done()).unwrap();
    assert!(matches!(resolve(&mut journal, id, Resolution::Void), Err(StoreFault::Damaged(_))));
    assert_eq!(journal.payment(id).unwrap().unwrap().state, State::Done);
    assert_eq!(journal.verify(), Ok(Inventory { entries: 2, payments: 1, open: 0, loads: 0 }));
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let (_folder, _path, mut journal) = new();
    let entries = vec![
        JournalEntry::Intent(intent(1, 1)),
        JournalEntry::Resolved { intent: RecordId(7), resolution: done() },
    ];
    assert!(journal.commit(&Batch { wall: WALL, entries }).is_err());
    assert_eq!(journal.verify(), Ok(Inventory::default()));
    let entries = vec![
        JournalEntry::Intent(intent(1, 1)),
        JournalEntry::Resolved { intent: RecordId(1), resolution: done() },
    ];
    assert_eq!(journal.commit(&Batch { wall: WALL, entries }), Ok(vec![RecordId(1), RecordId(2)]));
}

#[test]
fn a_wrong_proof_is_remembered_for_its_card_and_time() {
    let (_folder, _path, mut journal) = new();
    let id = begin(&mut journal, &intent(1, 1250)).unwrap();
    let why = Uncertainty::Mac2Wrong;
    resolve(&mut journal, id, Resolution::Uncertain { tac: Some(Tac::from8([3; 8])), why }).unwrap();
    let card = intent(1, 0).card;
    let (before, after) = (Wall(WALL.0 - 1), Wall(WALL.0 + 1));
    assert_eq!(journal.gave_wrong_proof(&card, (before, after)), Ok(true));
    assert_eq!(journal.gave_wrong_proof(&card, (WALL, after)), Ok(false));
    assert_eq!(
        journal.gave_wrong_proof(&card, (Wall(0), WALL)),
        Ok(false),
        "the clock was ahead, and is not any more"
    );
    assert_eq!(journal.gave_wrong_proof(&intent(2, 0).card, (Wall(0), after)), Ok(false));
}

#[test]
fn a_sam_has_agreed_with_an_issuer_once_another_card_of_it_paid() {
    let (_folder, _path, mut journal) = new();
    let (sam, card) = (intent(1, 1).terminal, intent(1, 1).card);
    let id = begin(&mut journal, &intent(2, 1250)).unwrap();
    assert_eq!(journal.sam_has_agreed(sam, &card), Ok(false), "an open debit proves nothing");
    resolve(&mut journal, id, done()).unwrap();
    assert_eq!(journal.sam_has_agreed(sam, &card), Ok(true));
    assert_eq!(journal.sam_has_agreed(sam, &intent(2, 1).card), Ok(false), "only that very card paid");
    assert_eq!(journal.sam_has_agreed(SamTerminal([9; 6]), &card), Ok(false));
    let stranger = CardId { issuer: "5441504C494E4501".parse().unwrap(), ..card };
    assert_eq!(journal.sam_has_agreed(sam, &stranger), Ok(false));
}

#[test]
fn history_is_searched_by_whatever_is_on_a_receipt() {
    let (_folder, _path, mut journal) = new();
    for (serial, amount) in [(0x11, 1250), (0x22, 300), (0x33, 1250)] {
        let id = begin(&mut journal, &intent(serial, amount)).unwrap();
        resolve(&mut journal, id, done()).unwrap();
    }
    begin(&mut journal, &DebitIntent { term_seq: TermSeq(99), ..intent(0x44, 500) }).unwrap();
    let ids = |search: &Search| -> Vec<u64> {
        journal.search(search).unwrap().into_iter().map(|payment| payment.id.0).collect()
    };
    assert_eq!(ids(&all(None)), [7, 5, 3, 1]);
    assert_eq!(ids(&all(Some("12.50"))), [5, 1]);
    assert_eq!(ids(&all(Some("7822"))), [3]);
    assert_eq!(ids(&all(Some("a1a1"))), [5, 3, 1]);
    assert_eq!(ids(&all(Some("99"))), [7]);
    assert_eq!(ids(&all(Some("2026-11-22"))), [7, 5, 3, 1]);
    assert_eq!(ids(&all(Some("'; DROP TABLE payment"))), [] as [u64; 0]);
    assert_eq!(ids(&Search { uncertain: true, ..all(None) }), [7]);
    assert_eq!(ids(&Search { limit: 2, ..all(None) }), [7, 5]);
    assert_eq!(ids(&Search { from: Some("2026-11-23".into()), ..all(None) }), [] as [u64; 0]);
    assert_eq!(ids(&Search { to: Some("2026-11-22".into()), ..all(None) }), [7, 5, 3, 1]);
    let sums = Sums::of(&journal.search(&all(None)).unwrap(), Currency::CNY).unwrap();
    assert_eq!(sums, Sums { taken: 3, amount: Amount::new(2800, Currency::CNY), uncertain: 1 });
}

#[test]
fn a_row_that_does_not_fit_its_entries_is_found() {
    let tamper = |sql: &str| {
        let (_folder, path, mut journal) = new();
        let id = begin(&mut journal, &intent(1, 1250)).unwrap();
        resolve(&mut journal, id, Resolution::Void).unwrap();
        drop(journal);
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        Journal::open(&path).unwrap().verify()
    };
    let damaged = Err(StoreFault::Damaged("payment 1 is not what its entries say".into()));
    assert_eq!(tamper("UPDATE payment SET amount = 1"), damaged);
    assert_eq!(tamper("UPDATE payment SET state = 2, tac = 'A1'"), damaged);
    assert_eq!(tamper("DELETE FROM payment"), damaged);
    assert!(tamper("UPDATE payment SET state = 77").is_err());
}
