//! A batch whose totals differ, over the wire and on SQLite: the terminal uploads what it counted, the gateway names each difference, every
//! message repeats itself, and the batch closes exactly once, with a restart in the middle.
#![cfg(test)]

use backend::Engine;
use backend::store::sqlite::SqliteStore;
use keys::{KeyModule, MasterKey, SoftKeys};
use posp_gateway::access::Limits;
use protocol::ids::{BatchNo, Stan};
use protocol::iso8583::Mti;
use protocol::iso8583::f58::{
    BatchDifference, BatchDifferences, BatchItem, BatchItems, ItemName, ItemSide, MAX_BYTES,
};
use protocol::iso8583::typed::{
    Balance, Batch, ManagementCode, PurseField, ResponseCode, SettlementTotals, Sum, Totals,
};
use std::path::Path;
use std::sync::Arc;
use tests::acquirer::{Acquirer, CURRENCY, Received, TestTerminal, enrol, register};

fn start(folder: &Path) -> Acquirer {
    let keys = Arc::new(SoftKeys::open(&folder.join("keys"), MasterKey::new([7; 32])).unwrap());
    let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
    let mut engine = Engine::new(SqliteStore::open(&folder.join("db")).unwrap(), shared);
    register(&mut engine, &*keys, 1, 1, 100_000);
    Acquirer::start(Box::new(engine), keys, Limits::default())
}

fn till(acquirer: &Acquirer) -> TestTerminal {
    let mut till = TestTerminal::new(acquirer.address, 1, enrol(&*acquirer.keys, 1));
    till.sign_in();
    till
}

fn settle(till: &mut TestTerminal, trace: u32, debit: Sum) -> Received {
    let domestic = Totals { debit, ..Totals::default() };
    let totals = SettlementTotals { domestic, foreign: Totals::default(), loads: Some(Totals::default()) };
    let batch = Batch::management(till.batch, ManagementCode::SETTLEMENT);
    let frame = till.frame(Mti::SETTLEMENT, till.mac.as_ref(), &|builder| {
        builder.put(&Stan(trace))?.put(&till.id)?.put(&till.merchant)?.put(&totals)?.put(&CURRENCY)?;
        builder.put(&batch)?;
        Ok(())
    });
    let answer = till.ask(&frame);
    assert!(till.verifies(&answer));
    answer
}

fn upload(till: &mut TestTerminal, trace: u32, code: ManagementCode, purse: &[u8]) -> Received {
    let batch = Batch::management(till.batch, code);
    let frame = till.frame(Mti::UPLOAD, till.mac.as_ref(), &|builder| {
        builder.put(&Stan(trace))?.put(&till.id)?.put(&till.merchant)?;
        if !purse.is_empty() {
            builder.put(&CURRENCY)?.put(&PurseField(purse))?;
        }
        builder.put(&batch)?;
        Ok(())
    });
    let answer = till.ask(&frame);
    assert!(till.verifies(&answer));
    answer
}

fn items(of: &[(u32, u64)]) -> Vec<u8> {
    let item = |(trace, minor): &(u32, u64)| BatchItem {
        side: ItemSide::Debit,
        name: ItemName::Trace(Stan(*trace)),
        minor: *minor,
    };
    let mut out = vec![0; MAX_BYTES];
    let n = BatchItems::encode(&of.iter().map(item).collect::<Vec<_>>(), &mut out).unwrap();
    out.truncate(n);
    out
}

#[test]
fn each_difference_is_named_and_the_batch_closes_once_however_often_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut acquirer = start(folder.path());
    let mut terminal = till(&acquirer);
    for (trace, minor) in [(10, 100), (11, 200), (12, 300)] {
        let answer = terminal.ask(&terminal.purchase_frame(Stan(trace), 1, minor));
        assert_eq!(answer.code(), ResponseCode::APPROVED);
    }
    // The terminal has another amount for the first, lacks the second, and has one that the gateway never saw.
    let counted = Sum { minor: 1_227, count: 3 };
    let asked = settle(&mut terminal, 20, counted);
    let host: SettlementTotals = asked.message().need().unwrap();
    assert_eq!((asked.code(), host.domestic.balance), (ResponseCode::RECONCILE, Balance::NotBalanced));
    assert_eq!(host.domestic.debit, Sum { minor: 600, count: 3 });
    let new = terminal.ask(&terminal.purchase_frame(Stan(21), 1, 1));
    assert_eq!(new.code(), ResponseCode::RECONCILE, "nothing new is begun meanwhile");

    let (first, second) = (items(&[(10, 150), (12, 300)]), items(&[(30, 777)]));
    for _ in 0..2 {
        let answer = upload(&mut terminal, 22, ManagementCode::SETTLEMENT, &first);
        assert_eq!((answer.code(), answer.message().mti()), (ResponseCode::APPROVED, Mti(0x0330)));
    }
    let cut = upload(&mut terminal, 23, ManagementCode::SETTLEMENT, &second[..second.len() - 1]);
    assert_eq!(cut.code(), ResponseCode::FORMAT, "an item that is cut off is none");

    // A restart in the middle; the terminal begins again with its totals.
    acquirer.stop();
    drop(acquirer);
    let acquirer = start(folder.path());
    let mut terminal = till(&acquirer);
    assert_eq!(terminal.batch, BatchNo(1));
    assert_eq!(settle(&mut terminal, 24, counted).code(), ResponseCode::RECONCILE);
    for trace in [25, 26] {
        assert_eq!(
            upload(&mut terminal, trace, ManagementCode::UPLOAD_OTHER, &first).code(),
            ResponseCode::APPROVED
        );
    }
    assert_eq!(
        upload(&mut terminal, 27, ManagementCode::UPLOAD_OTHER, &second).code(),
        ResponseCode::APPROVED
    );
    let end = upload(&mut terminal, 28, ManagementCode::UPLOAD_END_UNBALANCED, &[]);
    assert_eq!(end.code(), ResponseCode::APPROVED);
    let message = end.message();
    let told = BatchDifferences::parse(message.need::<PurseField<'_>>().unwrap().0).unwrap();
    assert_eq!(told.total, 3);
    let differs = |trace, terminal, host| BatchDifference {
        side: ItemSide::Debit,
        name: ItemName::Trace(Stan(trace)),
        terminal,
        host,
    };
    let expected =
        [differs(10, Some(150), Some(100)), differs(11, None, Some(200)), differs(30, Some(777), None)];
    assert_eq!(told.map(Result::unwrap).collect::<Vec<_>>(), expected);

    // Asked again it answers the same; another end finds nothing to end.
    assert_eq!(upload(&mut terminal, 28, ManagementCode::UPLOAD_END_UNBALANCED, &[]).body, end.body);
    assert_eq!(upload(&mut terminal, 29, ManagementCode::UPLOAD_END, &[]).code(), ResponseCode::BATCH);
    terminal.sign_in();
    assert_eq!(terminal.batch, BatchNo(2));
    assert_eq!(settle(&mut terminal, 30, Sum::default()).code(), ResponseCode::APPROVED);
}
