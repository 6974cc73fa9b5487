//! Three gateway processes on one PostgreSQL, over the wire: terminals go from one to the other with purchases, loads, uploads, reversals and
//! repeats, while gateways are killed and frozen, while the server itself is stopped and killed, and while its disks are full. In the end every answer is in the books
//! once, as psql reads them, every chain is whole, and what is on the cards is what the float says.
#![cfg(test)]

use backend::Engine;
use backend::accounts::chart::{Book, FundingKind, FundingNumber, IssuerNumber, MerchantNumber};
use console::Exit;
use keys::KeyModule;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::acquirer::terminal_id;
use tests::daemon::isolated;
use tests::outlet::Outlet;
use tests::postgres::{OWNER, SERVICE, Server, Stop, account, derived};
use tests::program::{Program, Running, configure};
use tests::purse_line::{self, Card, asn, sam};
use tests::wanderer::{Addresses, PAYERS, Wanderer, funding, payer};

const GATEWAYS: u16 = 3;
const TERMINALS: u32 = 5;
const MONEY: u64 = 1 << 40;
/// How a booked record stands.
const BOOKED: u8 = 4;

/// Three programs on one database, all that they need registered, and terminals to come to them.
struct Acquirer {
    server: Server,
    database: String,
    programs: Vec<Program>,
    running: Vec<Running>,
    addresses: Addresses,
    stop: Arc<AtomicBool>,
    _root: tempfile::TempDir,
}

impl Acquirer {
    fn start() -> (Self, Vec<Wanderer>) {
        let server = Server::start(&[]);
        let database = server.empty();
        Self::on(server, database)
    }

    fn on(server: Server, database: String) -> (Self, Vec<Wanderer>) {
        let root = tempfile::tempdir().unwrap();
        let first = Program::new(root.path(), &server, &database, 1);
        first.operate(&["init"]);
        let tmks = first.enrol(server.store(&database, 1), TERMINALS, funding(TERMINALS), MONEY);
        let keys = first.keys();
        let shared: Arc<dyn KeyModule> = Arc::<keys::SoftKeys>::clone(&keys);
        let numbers: Vec<u8> = (1..=TERMINALS).map(|n| u8::try_from(n).unwrap()).collect();
        let cards: Vec<_> = numbers.iter().map(|n| (asn(*n), funding((*n).into()).into())).collect();
        let sams: Vec<_> = numbers.iter().map(|n| (sam(*n), terminal_id((*n).into()))).collect();
        let mut engine = Engine::new(server.store(&database, 1), shared);
        purse_line::register(&mut engine, &keys, &cards, &sams);
        drop(engine);

        let beside = (2..=GATEWAYS).map(|number| first.beside(root.path(), &server, &database, number));
        let programs: Vec<Program> = std::iter::once(first.clone()).chain(beside).collect();
        let running: Vec<Running> = programs.iter().map(Program::serve).collect();
        let addresses = Addresses::of(running.iter().map(|gateway| gateway.address).collect());
        let wanderers = tmks
            .into_iter()
            .zip(&numbers)
            .map(|(tmk, n)| {
                let card = Card::issue(&keys, asn(*n), sam(*n));
                Wanderer::new((*n).into(), tmk, card, addresses.clone())
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        (Self { server, database, programs, running, addresses, stop, _root: root }, wanderers)
    }

    /// SIGKILL, and a new process with the same number.
    fn kill(&mut self, place: usize) {
        drop(self.running.remove(place));
        let again = self.programs[place].serve();
        self.addresses.moved(place, again.address);
        self.running.insert(place, again);
    }

    /// Lets the terminals work while `events` happen, and until each has all its answers.
    fn work(&mut self, wanderers: Vec<Wanderer>, events: impl FnOnce(&mut Self)) -> Vec<Wanderer> {
        let threads: Vec<_> = wanderers
            .into_iter()
            .map(|wanderer| {
                let stop = Arc::clone(&self.stop);
                std::thread::spawn(move || wanderer.run(&stop))
            })
            .collect();
        events(self);
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(60);
        threads
            .into_iter()
            .map(|thread| {
                while !thread.is_finished() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(10));
                }
                assert!(thread.is_finished(), "a terminal waits for an answer");
                thread.join().unwrap()
            })
            .collect()
    }

    /// Everything that was answered is in the books once, with its content, and nothing else is.
    fn books_are_what_was_answered(mut self, tills: &[Wanderer]) {
        // Of the running gateways, each of which sees all of it.
        for program in &self.programs {
            let audit = audit_soon(program);
            assert_eq!(audit["clean"], Value::Bool(true), "{audit}");
        }
        self.running.drain(..).for_each(Running::terminate);
        let audit = self.programs[0].operate(&["audit"]);
        assert_eq!(
            (audit["clean"].as_bool(), audit["exceptions"].as_array().unwrap().len()),
            (Some(true), 0)
        );
        assert_eq!(audit["heads"].as_array().unwrap().len(), usize::from(GATEWAYS), "{audit}");
        let (server, database) = (&self.server, self.database.as_str());
        let chains = "SELECT number >> 48, count(*), max(number & (1::bigint << 48) - 1) FROM tapline.links GROUP BY 1 ORDER BY 1";
        let chains = server.sql(database, chains);
        for (chain, number) in chains.lines().zip(1..) {
            let columns: Vec<i64> = chain.split('|').map(|column| column.parse().unwrap()).collect();
            assert_eq!((columns[0], columns[1]), (number, columns[2]), "a chain without gaps");
            assert!(columns[1] > 3, "gateway {number} decided {} times", columns[1]);
        }

        let derived = derived(server, database);
        let of = |book: Book| derived[&account(book)];
        let mut held = BTreeMap::new();
        let (mut on_cards, mut all_loads) = (0, 0);
        for (till, n) in tills.iter().zip(1..) {
            self.purchases(till);
            for (trace, (minor, _)) in &till.told {
                if !till.reversed.contains_key(trace) {
                    *held.entry(payer(*trace)).or_insert(0) += i64::try_from(*minor).unwrap();
                }
            }
            let spent: u64 = till.records.values().sum();
            let signed = |minor: u64| i64::try_from(minor).unwrap();
            assert_eq!(of(Book::MerchantPayable(MerchantNumber(n))), (signed(spent), 0), "{}", till.id());
            let bank = Book::Funding(FundingKind::Bank, FundingNumber(funding(n).into()));
            assert_eq!(of(bank), (signed(MONEY - till.loaded), 0), "{}", till.id());
            assert_eq!(till.loaded - spent, u64::from(till.balance()), "every record was answered");
            (on_cards, all_loads) = (on_cards + i64::from(till.balance()), all_loads + till.loaded);
            let records = format!(
                "SELECT term_seq, standing FROM tapline.records WHERE sam = '\\x{}' ORDER BY 1",
                protocol::hex::Hex(&sam(u8::try_from(n).unwrap()).0)
            );
            let records = server.sql(database, &records);
            let booked: Vec<&str> = records.lines().collect();
            let answered: Vec<String> = till.records.keys().map(|seq| format!("{seq}|{BOOKED}")).collect();
            assert_eq!(booked, answered, "{}", till.id());
        }
        for n in 1..=PAYERS {
            let bank = Book::Funding(FundingKind::Bank, FundingNumber(n.into()));
            assert_eq!(of(bank), (i64::try_from(MONEY).unwrap(), held.remove(&n).unwrap_or(0)), "payer {n}");
        }
        assert_eq!(of(Book::PurseFloat(IssuerNumber(1))), (on_cards, 0), "what is on cards is in the float");
        assert!(all_loads > 0 && on_cards > 0);
    }

    /// The purchases of one terminal, row by row.
    fn purchases(&self, till: &Wanderer) {
        const PURCHASE: i64 = 2;
        const TOMBSTONE: i64 = 12;
        const AUTHORISED: i64 = 2;
        const REVERSED: i64 = 5;
        let rows = format!(
            "SELECT trace, seq, amount, kind, state, code FROM tapline.transactions
             WHERE terminal = '{}' AND batch = 1 AND kind IN (2, 12) ORDER BY trace",
            till.id()
        );
        let mut seen = BTreeSet::new();
        for row in self.server.sql(&self.database, &rows).lines() {
            let columns: Vec<i64> = row.split('|').map(|column| column.parse().unwrap()).collect();
            let [trace, seq, amount, kind, state, code] = columns[..] else { panic!("{row}") };
            let trace = u32::try_from(trace).unwrap();
            assert!(seen.insert(trace), "{row} is there twice");
            let minor = u64::try_from(amount).unwrap();
            match (till.told.get(&trace), till.reversed.get(&trace)) {
                (Some((told, reference)), reversed) => {
                    let wanted = backend::api::transaction_of(*reference).unwrap().0;
                    assert_eq!((u64::try_from(seq).unwrap(), minor, code), (wanted, *told, 0), "{row}");
                    let end = if reversed.is_some() { REVERSED } else { AUTHORISED };
                    assert_eq!((kind, state), (PURCHASE, end), "{row}");
                }
                // Its answer was lost, and it was reversed, before or after it had come.
                (None, Some(asked)) => {
                    assert!(kind == TOMBSTONE || (kind, state) == (PURCHASE, REVERSED), "{row}");
                    assert_eq!(minor, *asked, "{row}");
                }
                (None, None) => panic!("nobody asked for {row}"),
            }
        }
        let asked: BTreeSet<u32> = till.told.keys().chain(till.reversed.keys()).copied().collect();
        assert_eq!(seen, asked, "{}", till.id());
        let (told, reversed) = (till.told.len(), till.reversed.len());
        assert!(
            told > 30 && reversed > 2 && till.repeats > 2,
            "{told} told, {reversed} reversed, {}",
            till.repeats
        );
        assert!(till.records.len() > 2, "{} records", till.records.len());
    }
}

/// The audit of a gateway that may not have tried yet whether the server is back.
fn audit_soon(program: &Program) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let said = program.ask(&["audit"]);
        match said.code() {
            "TL-2030" if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(200)),
            _ => break said.json["result"].clone(),
        }
    }
}

#[test]
fn terminals_move_between_three_gateways_that_are_killed_and_frozen_and_every_answer_is_booked_once() {
    let (mut acquirer, wanderers) = Acquirer::start();
    let tills = acquirer.work(wanderers, |acquirer| {
        for round in 0..6 {
            let (victim, frozen) = (round % 3, (round + 1) % 3);
            std::thread::sleep(Duration::from_millis(500));
            if round % 2 == 0 {
                // Terminals give it up and go on elsewhere; what it had read it decides when it wakes.
                acquirer.running[frozen].freeze();
                std::thread::sleep(Duration::from_millis(300));
                acquirer.kill(victim);
                std::thread::sleep(Duration::from_millis(1_900));
                acquirer.running[frozen].wake();
            } else {
                acquirer.kill(victim);
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    });
    assert!(tills.iter().all(|till| till.lost >= 2), "nobody noticed that gateways died");
    acquirer.books_are_what_was_answered(&tills);
}

#[test]
fn a_server_that_is_stopped_and_killed_under_three_gateways_loses_and_doubles_nothing() {
    let (mut acquirer, wanderers) = Acquirer::start();
    let tills = acquirer.work(wanderers, |acquirer| {
        for how in [Stop::Fast, Stop::Immediate, Stop::Kill, Stop::Immediate] {
            std::thread::sleep(Duration::from_millis(900));
            acquirer.server.stop(how);
            std::thread::sleep(Duration::from_millis(150));
            acquirer.server.resume();
        }
        // Longer than a terminal waits.
        std::thread::sleep(Duration::from_millis(900));
        acquirer.server.stop(Stop::Kill);
        std::thread::sleep(Duration::from_millis(2_500));
        acquirer.server.resume();
        std::thread::sleep(Duration::from_millis(900));
    });
    assert!(tills.iter().any(|till| till.lost + till.refused > 0), "nobody noticed that the server was away");
    acquirer.books_are_what_was_answered(&tills);
}

/// A disk of its own, which the server's account may write too.
fn disk(folder: &Path, size: &str) {
    fs::create_dir(folder).unwrap();
    let option = format!("size={size},mode=1777");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tapline"]).arg(folder).status();
    assert!(mounted.unwrap().success());
}

fn fill(folder: &Path) {
    let mut filler = fs::File::create(folder.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
}

fn make_room(folder: &Path) {
    fs::remove_file(folder.join("filler")).unwrap();
}

#[test]
fn full_disks_under_the_server_refuse_and_stop_it_and_the_books_are_what_was_answered() {
    isolated("full_disks_under_the_server_refuse_and_stop_it_and_the_books_are_what_was_answered", || {
        // In the namespace's own memory: mounts and all go with it.
        let folder = tempfile::tempdir_in("/run/pcscd").unwrap();
        let (own, books) = (folder.path().join("server"), folder.path().join("books"));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        disk(&own, "160m");
        disk(&books, "40m");
        let place = own.to_str().unwrap();
        let server = Server::start(&[
            "--in",
            place,
            "-c",
            "min_wal_size=32MB",
            "-c",
            "max_wal_size=32MB",
            "-c",
            "max_connections=20",
        ]);
        // The books on a disk of their own, and the write-ahead log on the server's.
        let space = books.join("space");
        server.sql(
            "postgres",
            &format!("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; mkdir -m 700 {}'", space.display()),
        );
        server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", space.display()));
        server.sql("postgres", &format!("CREATE DATABASE books OWNER {OWNER} TABLESPACE small"));
        let (mut acquirer, wanderers) = Acquirer::on(server, "books".to_owned());
        let tills = acquirer.work(wanderers, |acquirer| {
            std::thread::sleep(Duration::from_millis(800));
            fill(&books);
            let refused = (1..100).any(|n| {
                let merchant = format!("M{n:014}");
                let said =
                    acquirer.programs[0].ask(&["merchant", "add", &merchant, "--name", &"Shop".repeat(9)]);
                said.code() == "TL-1401"
            });
            assert!(refused, "operators are told that the disk is full");
            std::thread::sleep(Duration::from_millis(800));
            make_room(&books);
            // Nobody starts anything anew.
            std::thread::sleep(Duration::from_millis(800));

            // Without room for its log the server stops itself, and cannot start until there is some.
            fill(&own);
            let log =
                "SELECT pg_logical_emit_message(false, 'tapline', repeat('x', 100000)), pg_switch_wal()";
            let stopped = (0..100).any(|_| !acquirer.server.psql("postgres", "books", log).status.success());
            assert!(stopped, "the server has room for its log");
            std::thread::sleep(Duration::from_millis(800));
            let said = acquirer.programs[1].ask(&["audit"]);
            assert_eq!((said.code(), said.exit), ("TL-2030", 69), "{}", said.text);
            make_room(&own);
            acquirer.server.stop(Stop::Fast);
            acquirer.server.resume();
            std::thread::sleep(Duration::from_millis(1_500));
        });
        assert!(tills.iter().all(|till| till.refused > 0), "a terminal never met a full disk");
        acquirer.books_are_what_was_answered(&tills);
    });
}

#[test]
fn the_real_till_takes_each_errand_to_another_gateway() {
    let server = Server::start(&[]);
    let database = server.empty();
    let outlet = Outlet::on(|_, gateway| {
        configure(gateway, &server.url(SERVICE, &database), &server.url(OWNER, &database), 1);
    });
    let root = tempfile::tempdir().unwrap();
    let first = Program { folder: outlet.gateway_folder() };
    let others = [2, 3].map(|number| first.beside(root.path(), &server, &database, number));
    let running = [first.serve(), others[0].serve(), others[1].serve()];
    let mut turn = 0;
    let mut at_the_next = |arguments: &[&str]| {
        turn += 1;
        let address = running[turn % running.len()].address.to_string();
        let dial = Box::new(move |_: &str, within| terminal::host::tcp(&address, within));
        let said = outlet.till_over(arguments, dial);
        assert_eq!(said.exit, Exit::Success, "{arguments:?}: {said:?}");
        said
    };
    let mut spent = 0;
    for _ in 0..2 {
        at_the_next(&["topup", "50"]);
        for _ in 0..2 {
            assert_eq!(outlet.till(&["sale", "1.25"]).exit, Exit::Success);
            spent += 125;
        }
        at_the_next(&["upload"]);
        assert_eq!(outlet.till(&["sale", "2.00"]).exit, Exit::Success);
        spent += 200;
        let said = at_the_next(&["settle"]);
        assert_eq!(said.result()["outcome"], Value::from("balanced"), "{said:?}");
        at_the_next(&["settle"]);
    }
    running.into_iter().for_each(Running::terminate);
    assert_eq!(outlet.books_agree(), (10_000, spent));
    let batch = outlet.operate(&["report", "batch", tests::outlet::TERMINAL, "2"]);
    assert_eq!(batch["state"], "closed", "{batch}");
}
