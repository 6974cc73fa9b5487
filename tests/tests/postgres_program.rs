//! The program itself with its ledger on PostgreSQL: a day from `init` to settlement with a real till and real frames, every command beside a
//! running gateway and alone, what a person reads when the database does not let it work, and psql, which knows nothing of our code, on what
//! is in the books.
#![cfg(test)]

use backend::Engine;
use backend::accounts::chart::{Book, FundingKind, FundingNumber, IssuerNumber, MerchantNumber};
use console::Exit;
use keys::KeyModule;
use protocol::ids::TerminalId;
use protocol::iso8583::f58::RecordState;
use protocol::iso8583::typed::{ResponseCode, RetrievalReference, Sum};
use protocol::purse::{Suite, Tac};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tests::acquirer::{TestTerminal, enrol, register};
use tests::outlet::Outlet;
use tests::postgres::{OWNER, PASSWORD, SERVICE, Server, Stop, account, derived};
use tests::program::{Program, Said, configure, said};
use tests::purse_line::{self, Card, asn, confirm_frame, consent, load_request_frame, sam, upload_frame};

/// The number of the gateways of these tests.
const NUMBER: u16 = 7;

fn payer(n: u64) -> String {
    account(Book::Funding(FundingKind::Bank, FundingNumber(n)))
}

#[test]
fn a_day_by_the_programs_alone_and_psql_finds_every_answer_in_the_postings() {
    const MONEY: u64 = 1_000_000;
    let server = Server::start(&[]);
    let database = server.empty();
    let outlet = Outlet::on(|_, gateway| {
        configure(gateway, &server.url(SERVICE, &database), &server.url(OWNER, &database), NUMBER);
    });
    // What `init` gave the gateways' role, in the server's own words.
    let may = |what: &str, table: &str| {
        server
            .sql(&database, &format!("SELECT has_table_privilege('{SERVICE}', 'tapline.{table}', '{what}')"))
    };
    for (what, table) in [("SELECT", "transfers"), ("INSERT", "transfers"), ("INSERT", "links")] {
        assert_eq!(may(what, table), "t", "{what} {table}");
    }
    for table in ["transfers", "links", "claims", "transactions", "accounts"] {
        for what in ["UPDATE", "DELETE", "TRUNCATE"] {
            assert_eq!(may(what, table), "f", "{what} {table}");
        }
    }

    let keys = {
        let master = keys::MasterKey::from_file(&outlet.gateway_folder().join("master.key")).unwrap();
        keys::SoftKeys::open(&outlet.gateway_folder().join("keys.tlk"), master).unwrap()
    };
    let keys = Arc::new(keys);
    let shared: Arc<dyn KeyModule> = Arc::<keys::SoftKeys>::clone(&keys);
    register(&mut Engine::new(server.store(&database, NUMBER), shared), &*keys, 2, 3, MONEY);
    let tmks = [enrol(&*keys, 1), enrol(&*keys, 2)];
    let gateway = outlet.gateway();

    // The till: real applets, the terminal's own commands.
    assert_eq!(outlet.till(&["topup", "500"]).exit, Exit::Success);
    for _ in 0..3 {
        assert_eq!(outlet.till(&["sale", "12.50"]).exit, Exit::Success);
    }
    assert_eq!(outlet.till(&["upload"]).exit, Exit::Success);
    let settled = outlet.till(&["settle"]);
    assert_eq!((settled.exit, &settled.result()["outcome"]), (Exit::Success, &"balanced".into()));
    assert_eq!(outlet.books_agree(), (50_000, 3 * 1_250));

    // Two terminals with purchases; the first settles, the second reverses one and leaves the rest held.
    let mut tills: Vec<TestTerminal> =
        tmks.into_iter().zip(1..).map(|(tmk, n)| TestTerminal::new(outlet.address(), n, tmk)).collect();
    let (mut spent, mut answers) = ([0u64; 4], Vec::new());
    for (till, n) in tills.iter_mut().zip(1u32..) {
        till.sign_in();
        for minor in [100, 250, 333] {
            let trace = till.next_trace();
            let frame = till.purchase_frame(trace, n, minor);
            let answer = till.ask(&frame);
            assert!(till.verifies(&answer));
            assert_eq!(answer.code(), ResponseCode::APPROVED);
            let reference: RetrievalReference = answer.message().need().unwrap();
            answers.push((backend::api::transaction_of(reference).unwrap().0, minor));
            spent[n as usize] += minor;
        }
    }
    let reversed = tills[1].trace;
    let frame = tills[1].reversal_frame(reversed, 333);
    assert_eq!(tills[1].ask(&frame).code(), ResponseCode::APPROVED);
    spent[2] -= 333;
    let totals = Sum { minor: spent[1], count: 3 };
    assert_eq!(tills[0].settle(totals, Sum::default()).code(), ResponseCode::APPROVED);

    let derived = derived(&server, &database);
    let signed = |minor: u64| i64::try_from(minor).unwrap();
    let money = signed(MONEY);
    assert_eq!(derived[&payer(1)], (money - signed(spent[1]), 0), "settled: paid");
    assert_eq!(derived[&payer(2)], (money, signed(spent[2])), "not settled: held");
    assert_eq!(derived[&payer(3)], (money, 0));
    assert_eq!(derived[&payer(999_999)], (500_000 - 50_000, 0));
    assert_eq!(derived[&account(Book::PurseFloat(IssuerNumber(1)))], (50_000 - 3_750, 0));
    let merchants = |n: u32| derived[&account(Book::MerchantPayable(MerchantNumber(n)))].0;
    assert_eq!((merchants(1), merchants(2), merchants(3)), (3_750, signed(spent[1]), 0));
    assert_eq!(derived.values().map(|(net, _)| net).sum::<i64>(), 0, "nothing was made, nothing was lost");
    // Running balances are what the postings say, wherever the books keep one.
    let kept = server.sql(
        &database,
        "SELECT encode(id, 'hex'), credits_posted - debits_posted, debits_pending FROM tapline.accounts WHERE flags & 3 <> 0",
    );
    assert_eq!(kept.lines().count(), 4, "{kept}");
    for row in kept.lines() {
        let columns: Vec<&str> = row.split('|').collect();
        let (net, held) = derived[columns[0]];
        assert_eq!((columns[1], columns[2]), (net.to_string().as_str(), held.to_string().as_str()), "{row}");
    }
    // Every answer is one transaction with its amount, by the reference that left.
    for (seq, minor) in &answers {
        let row = server
            .sql(&database, &format!("SELECT amount, code FROM tapline.transactions WHERE seq = {seq}"));
        assert_eq!(row, format!("{minor}|00"), "{seq}");
        assert_eq!(seq >> 48, u64::from(NUMBER), "the gateway's own numbers");
    }
    let doubled =
        "SELECT count(*) FROM (SELECT 1 FROM tapline.transactions GROUP BY seq HAVING count(*) > 1) AS t";
    assert_eq!(server.sql(&database, doubled), "0");
    gateway.terminate();
    assert_eq!(outlet.books_agree(), (50_000, 3_750), "also when no gateway runs");
}

/// Each command that reaches the ledger, in an order that works; `*` is a folder of the round's own, `#` a number. With it the code of a refusal that is
/// right, or nothing.
const COMMANDS: [(&str, &str); 34] = [
    ("merchant add M00000000000050 --name Bakery", ""),
    ("terminal add T0000050 --merchant M00000000000050 --file */till.provision", ""),
    ("sam add 000000000050 --terminal T0000050", ""),
    ("sam retry 000000000050", ""),
    ("issuer add ../issuer.toml", ""),
    ("funding add bank:50", ""),
    ("funding deposit bank:50 100.00 --reference 50", ""),
    ("funding suffices bank:50 99.99", ""),
    ("card add 62170000000000000050 --issuer 5441504C00000156 --funding bank:50", ""),
    ("card rekey 62170000000000000050 --issuer 5441504C00000156 --key-version 2", ""),
    ("card rekey 62170000000000000050 --issuer 5441504C00000156 --key-version 1", ""),
    ("card deny 62170000000000000050 --issuer 5441504C00000156", ""),
    ("card deny 62170000000000000050 --issuer 5441504C00000156 --lift", ""),
    (
        "card release 62170000000000000050 --issuer 5441504C00000156 --counter 1 --reference 000000000001",
        "TL-2008",
    ),
    ("limit set --account bank:50 --payment 20.00", ""),
    ("limit set --merchant M00000000000050 --day-sum 2000.00", ""),
    ("limit list", ""),
    ("report merchant M00000000000001", ""),
    ("report batch T0000001", ""),
    ("report card 62170000000000000050 --issuer 5441504C00000156", ""),
    ("report transaction --terminal T0000001 --batch 1 --trace 2", ""),
    ("report transaction --account bank:1", ""),
    ("report alerts", ""),
    ("report open", ""),
    ("report deny-list", ""),
    ("audit", ""),
    ("audit --export-head */heads.jsonl", ""),
    ("audit --heads */heads.jsonl", ""),
    ("backup */ledger.tlb", ""),
    ("settle", ""),
    ("doctor", ""),
    ("completions bash", ""),
    ("funding add bank:#", ""),
    ("funding close bank:#", ""),
];

#[test]
fn every_command_works_on_postgresql_beside_a_running_gateway_and_alone() {
    let server = Server::start(&[]);
    let database = server.empty();
    let root = tempfile::tempdir().unwrap();
    let program = Program::new(root.path(), &server, &database, NUMBER);
    program.operate(&["init"]);
    assert_eq!(program.ask(&["init"]).exit, 0, "again changes nothing: the schema is there, the keys stay");
    let issuer = card_applet_sim::issue::IssuerKeys::for_tests(Suite::Aes, 0);
    fs::write(root.path().join("issuer.toml"), card_applet_sim::keyfile::write(&issuer).as_bytes()).unwrap();
    let tmks = program.enrol(server.store(&database, NUMBER), 1, 1, 1_000_000);
    let keys = program.keys();
    let shared: Arc<dyn KeyModule> = Arc::<keys::SoftKeys>::clone(&keys);
    let own = TerminalId::from_text("T0000001").unwrap();
    let mut engine = Engine::new(server.store(&database, NUMBER), shared);
    purse_line::register(&mut engine, &keys, &[(asn(1), 1)], &[(sam(1), own)]);
    drop(engine);

    let all = |folder: &str, number: &str| {
        fs::create_dir(program.folder.join(folder)).unwrap();
        for (command, code) in COMMANDS {
            let command = command.replace('*', folder).replace('#', number);
            // A terminal is enrolled once.
            let arguments: Vec<&str> = command
                .split(' ')
                .chain((folder == "alone" && command.starts_with("terminal")).then_some("--renew"))
                .collect();
            let said = program.ask(&arguments);
            assert_eq!(
                (said.code(), said.exit == 0),
                (code, code.is_empty()),
                "{folder}: {command}: {}",
                said.text
            );
        }
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut serve = program.command();
    serve.env("TAPLINE_GATEWAY__GATEWAY__LISTEN", taken.local_addr().unwrap().to_string()).arg("serve");
    let said = tests::program::said(&serve.output().unwrap());
    assert_eq!(said.code(), "TL-2007", "{}", said.text);
    drop(taken);
    let gateway = program.serve();
    let mut till = TestTerminal::new(gateway.address, 1, tmks[0].clone());
    till.sign_in();
    let trace = till.next_trace();
    let frame = till.purchase_frame(trace, 1, 250);
    assert_eq!(till.ask(&frame).code(), ResponseCode::APPROVED);
    // A load, a payment, and one that nobody can prove yet.
    let mut card = Card::issue(&keys, asn(1), sam(1));
    let frame = load_request_frame(&till, 10, &card.request(5_000), 5_000);
    let receipt = card.credit(5_000, &consent(&till.ask(&frame)));
    let frame = confirm_frame(&till, 11, &receipt, 10);
    assert_eq!(till.ask(&frame).code(), ResponseCode::APPROVED);
    let paid = card.pay(150, sam(1), 1);
    let mut doubtful = card.pay(50, sam(1), 2);
    (doubtful.state, doubtful.tac) = (RecordState::Uncertain, Tac::zero(Suite::Aes));
    let frame = upload_frame(&till, 12, &[paid, doubtful]);
    let answers = purse_line::record_answers(&till.ask(&frame));
    assert_eq!(answers.iter().map(|(_, code)| code.as_str()).collect::<Vec<_>>(), ["00", "01"]);
    all("beside", "51");
    let open = program.operate(&["report", "open"]);
    assert_eq!(open["items"].as_array().unwrap().len(), 1, "{open}");
    gateway.terminate();
    all("alone", "52");
    program.operate(&["record", "decide", "000000000001", "2", "--void"]);
    assert_eq!(program.operate(&["report", "open"])["items"], Value::Array(vec![]));
    let card = program.operate(&[
        "report",
        "card",
        &asn(1).to_string(),
        "--issuer",
        &purse_line::ISSUER.to_string(),
    ]);
    assert_eq!((card["loaded"].as_u64(), card["spent"].as_u64()), (Some(5_000), Some(150)), "{card}");
    let audit = program.operate(&["audit", "--heads", "beside/heads.jsonl"]);
    assert_eq!((audit["clean"].as_bool(), audit["heads_checked"].as_u64()), (Some(true), Some(1)), "{audit}");
}

/// A gateway's folder over TCP, where the server asks for passwords.
fn over_tcp(root: &Path, name: &str, server: &Server, role: &str, database: &str) -> Program {
    let folder = root.join(name);
    fs::create_dir(&folder).unwrap();
    configure(&folder, &server.tcp_url(role, database), &server.tcp_url(OWNER, database), NUMBER);
    Program { folder }
}

fn with_passwords(program: &Program, service: &str, owner: &str, arguments: &[&str]) -> Said {
    let mut command = program.command();
    command.env("TAPLINE_DATABASE_PASSWORD", service).env("TAPLINE_DATABASE_OWNER_PASSWORD", owner);
    command.env("TAPLINE_GATEWAY__POSTGRES__WAIT_S", "1");
    let said = said(&command.args(arguments).output().unwrap());
    for secret in [service, owner] {
        assert!(!said.text.contains(secret), "{}", said.text);
    }
    said
}

#[test]
fn a_database_that_does_not_let_the_program_work_is_told_by_its_code_and_with_what_to_do() {
    let server = Server::start(&[]);
    let database = server.empty();
    let root = tempfile::tempdir().unwrap();
    let program = over_tcp(root.path(), "right", &server, SERVICE, &database);
    let ask = |arguments: &[&str]| with_passwords(&program, PASSWORD, PASSWORD, arguments);

    // Before the owner has made the schema.
    let said = ask(&["audit"]);
    assert_eq!((said.code(), said.exit), ("TL-2032", 78), "{}", said.text);
    assert!(said.json["error"]["next"].as_str().unwrap().contains("posp-gateway init"), "{}", said.text);
    let said = with_passwords(&program, PASSWORD, "not the owner's", &["init"]);
    assert_eq!((said.code(), said.exit), ("TL-2031", 78), "{}", said.text);
    assert!(said.text.contains(OWNER), "it says who was refused: {}", said.text);
    assert_eq!(server.sql(&database, "SELECT to_regclass('tapline.schema')"), "");
    let said = ask(&["init"]);
    let made = said.json["result"]["database"].as_str();
    assert_eq!(
        (said.exit, made),
        (0, Some("postgresql://tapline_gateway@127.0.0.1/books_0")),
        "{}",
        said.text
    );
    assert_eq!(ask(&["doctor"]).exit, 0);

    for command in [&["audit"][..], &["serve"], &["backup", "x.tlb"]] {
        let said = with_passwords(&program, "hunter2", PASSWORD, command);
        assert_eq!((said.code(), said.exit), ("TL-2031", 78), "{command:?}: {}", said.text);
    }
    assert!(!program.folder.join("x.tlb").exists());
    let stranger = over_tcp(root.path(), "stranger", &server, "nobody_here", &database);
    assert_eq!(with_passwords(&stranger, PASSWORD, PASSWORD, &["serve"]).code(), "TL-2031");
    // A role of the server that nobody gave anything.
    server.sql("postgres", &format!("CREATE ROLE auditor LOGIN PASSWORD '{}'", PASSWORD.replace('\'', "''")));
    let auditor = over_tcp(root.path(), "auditor", &server, "auditor", &database);
    assert_eq!(with_passwords(&auditor, PASSWORD, PASSWORD, &["serve"]).code(), "TL-2031");
    let nowhere = over_tcp(root.path(), "nowhere", &server, SERVICE, "nothing");
    assert_eq!(with_passwords(&nowhere, PASSWORD, PASSWORD, &["serve"]).code(), "TL-2031");
    // `doctor` says the same, and goes on with its other checks.
    let said = with_passwords(&program, "hunter2", PASSWORD, &["doctor"]);
    assert_eq!(said.exit, 30, "{}", said.text);
    let checks = said.json["result"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["ok"] == false && check["check"] == "database and keys"));
    assert!(checks.iter().any(|check| check["ok"] == true && check["check"] == "clock"));

    // The number belongs to a running process, whatever folder it runs in.
    let holder = server.store(&database, NUMBER);
    let said = ask(&["serve"]);
    assert_eq!((said.code(), said.exit), ("TL-2033", 74), "{}", said.text);
    drop(holder);

    // A schema that this program does not know.
    server.sql(&database, "UPDATE tapline.schema SET version = 99");
    for command in [&["serve"][..], &["init"], &["audit"]] {
        assert_eq!(ask(command).code(), "TL-2004", "{command:?}");
    }
    server.sql(&database, "UPDATE tapline.schema SET version = 2");

    // Keys of another gateway are copied, not made: PANs and terminals of the ledger would be unknown under new ones.
    assert_eq!(ask(&["merchant", "add", "M00000000000001", "--name", "Shop"]).exit, 0);
    assert_eq!(ask(&["terminal", "add", "T0000001", "--merchant", "M00000000000001"]).exit, 0);
    let forgetful = over_tcp(root.path(), "forgetful", &server, SERVICE, &database);
    for command in [&["init"][..], &["serve"]] {
        let said = with_passwords(&forgetful, PASSWORD, PASSWORD, command);
        assert_eq!((said.code(), said.exit), ("TL-2006", 78), "{command:?}: {}", said.text);
        assert!(!forgetful.folder.join("keys.tlk").exists(), "{command:?}");
    }
    server.stop(Stop::Fast);
    let said = ask(&["serve"]);
    assert_eq!((said.code(), said.exit), ("TL-2030", 69), "{}", said.text);
    let said = ask(&["doctor"]);
    assert!(said.exit == 30 && said.text.contains("is away"), "{}", said.text);
    server.resume();
    assert_eq!(ask(&["doctor"]).exit, 0);
}
