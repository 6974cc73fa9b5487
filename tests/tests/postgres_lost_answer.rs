//! A gateway whose connection to PostgreSQL dies with the answer to a commit, while another gateway goes on: what was decided on top of that commit
//! has lost what it read, and is decided again. And one whose commit arrives without its
//! beginning: nothing of it is written.
#![cfg(test)]

use backend::api::{Answer, Backend, Request, Submitted};
use backend::store::StoreFault;
use backend::store::postgres::{Address, Options, PostgresStore};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::acquirer::clock;
use tests::postgres::{Gateway, PASSWORD, SERVICE, Server};

/// Between a gateway and the server: hands bytes on, until a commit passes whose answer is to be lost, and then the connection itself.
struct Way {
    port: u16,
    lose: Arc<AtomicBool>,
    spoil: Arc<AtomicBool>,
    panic: Arc<AtomicBool>,
    /// A connection on which the server's answers are lost.
    deaf: Arc<Mutex<Option<TcpStream>>>,
}

impl Way {
    /// A way to this server, and gateway 1 that goes it.
    fn with_gateway(server: &Server, database: &str) -> (Self, Gateway) {
        let way = Self::to(server.port);
        let url = format!("postgresql://{SERVICE}@127.0.0.1:{}/{database}", way.port);
        let address = Address::parse(&url).unwrap().with_password(PASSWORD.as_bytes());
        let options = Options { address, ..server.options(database, 1) };
        (way, Gateway::over(PostgresStore::open(options).unwrap()))
    }

    fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (lose, deaf) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let spoil = Arc::new(AtomicBool::new(false));
        let panic = Arc::new(AtomicBool::new(false));
        let way = Self {
            port,
            lose: Arc::clone(&lose),
            spoil: Arc::clone(&spoil),
            panic: Arc::clone(&panic),
            deaf: Arc::clone(&deaf),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (is_lost, lose, deaf) =
                    (Arc::new(AtomicBool::new(false)), Arc::clone(&lose), Arc::clone(&deaf));
                let (lost, spoil) = (Arc::clone(&is_lost), Arc::clone(&spoil));
                let (is_dying, panic) = (Arc::new(AtomicBool::new(false)), Arc::clone(&panic));
                let (dying, mut last_word) = (Arc::clone(&is_dying), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    hand_on(&client, to_server, |bytes| {
                        let begins = bytes.windows(5).position(|word| word == b"BEGIN");
                        if let Some(at) = begins
                            && spoil.swap(false, Ordering::SeqCst)
                        {
                            bytes[at..at + 5].copy_from_slice(b"BEGUN");
                        }
                        let commits = bytes.windows(6).any(|word| word == b"COMMIT");
                        if commits && panic.swap(false, Ordering::SeqCst) {
                            dying.store(true, Ordering::SeqCst);
                        }
                        if commits && lose.swap(false, Ordering::SeqCst) {
                            lost.store(true, Ordering::SeqCst);
                            *deaf.lock().unwrap() = Some(client.try_clone().unwrap());
                        }
                        true
                    });
                });
                std::thread::spawn(move || {
                    hand_on(&server, to_client, |_| {
                        let dies = is_dying.load(Ordering::SeqCst);
                        if dies {
                            let _ = last_word.write_all(&server_panic());
                            let _ = last_word.shutdown(Shutdown::Both);
                        }
                        !dies && !is_lost.load(Ordering::SeqCst)
                    });
                });
            }
        });
        way
    }

    /// The server's answer to the next commit, and all that follows it on that connection, gets lost.
    fn lose_next_commits_answer(&self) {
        self.lose.store(true, Ordering::SeqCst);
    }

    /// The next commit is made, and the server dies with an error of its log in answer to it.
    fn panic_at_next_commit(&self) {
        self.panic.store(true, Ordering::SeqCst);
    }

    /// The next transaction's beginning is refused.
    fn spoil_next_begin(&self) {
        self.spoil.store(true, Ordering::SeqCst);
    }

    /// That connection breaks.
    fn break_it(&self) {
        self.deaf.lock().unwrap().take().expect("a commit has passed").shutdown(Shutdown::Both).unwrap();
    }
}

/// What a server says whose disk is full below its write-ahead log, before it aborts (`ErrorResponse`, PostgreSQL 15, section 55.7).
fn server_panic() -> Vec<u8> {
    let fields = b"SPANIC\0VPANIC\0C53100\0Mcould not write to file \"pg_wal/xlogtemp.1\": No space left on device\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap();
    [&b"E"[..], &length.to_be_bytes(), fields].concat()
}

fn hand_on(mut from: &TcpStream, mut to: TcpStream, mut passes: impl FnMut(&mut [u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if passes(&mut buffer[..read]) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn is_approved(answers: &[Answer]) -> bool {
    matches!(answers, [Answer::Host(answer)] if answer.code.is_approved())
}

#[test]
fn what_was_decided_on_a_commit_whose_answer_was_lost_does_not_undo_another_gateways() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut second = Gateway::over(server.store(&database, 2)).with(3, 2);
    let (way, mut first) = Way::with_gateway(&server, &database);
    let warm = [Request::Host(first.purchase(1, 1, 2, 1))];
    assert!(is_approved(&first.engine.execute(clock().now(), &warm).unwrap()));

    // The first gateway's commit is made, and nobody hears of it.
    way.lose_next_commits_answer();
    let (one, two) =
        ([Request::Host(first.purchase(1, 2, 2, 5))], [Request::Host(first.purchase(2, 1, 1, 50))]);
    let submitted = first.engine.submit(clock().now(), &one).unwrap();
    assert!(matches!(submitted, Submitted::UnderWay(answers) if is_approved(&answers)));
    let deadline = Instant::now() + Duration::from_secs(20);
    while second.held(2) != 6 {
        assert!(Instant::now() < deadline, "the commit does not arrive");
        std::thread::sleep(Duration::from_millis(10));
    }
    // It decides on: payer 1, whom nobody has charged yet. Before it knows of its commit, the second gateway charges payer 1 too.
    let other = [Request::Host(second.purchase(3, 1, 1, 100))];
    let submitted = std::thread::scope(|scope| {
        let deciding = scope.spawn(|| first.engine.submit(clock().now(), &two));
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(is_approved(&second.engine.execute(clock().now(), &other).unwrap()));
        way.break_it();
        deciding.join().unwrap()
    });
    let (Submitted::Done(answers) | Submitted::UnderWay(answers)) = submitted.unwrap() else {
        panic!("the first commit was kept")
    };
    assert!(is_approved(&answers));
    first.engine.finish().unwrap();
    assert_eq!((second.held(1), second.held(2)), (150, 6), "both gateways' holds stand");
    let report = second.audit();
    assert_eq!((report.exceptions.as_slice(), report.transactions), (&[][..], 4));
}

#[test]
fn a_commit_whose_beginning_alone_fails_writes_nothing() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut other = Gateway::over(server.store(&database, 2)).with(1, 1);
    let (way, mut gateway) = Way::with_gateway(&server, &database);
    let (warm, cut) = (gateway.purchase(1, 1, 1, 1), gateway.purchase(1, 2, 1, 50));
    assert!(gateway.ask(&[warm]).unwrap()[0].code.is_approved());

    way.spoil_next_begin();
    let refused = gateway.ask(std::slice::from_ref(&cut));
    assert!(matches!(&refused, Err(StoreFault::Io(why)) if why.contains("syntax")), "{refused:?}");
    assert_eq!((other.held(1), other.audit().transactions), (1, 1), "nothing of it is there");
    let answer = gateway.ask(&[cut]).unwrap().remove(0);
    assert!(answer.code.is_approved() && !answer.repeat);
    assert_eq!((other.held(1), other.audit().exceptions), (51, Vec::new()));
}

#[test]
fn a_commit_that_the_server_keeps_although_it_panics_in_it_is_not_answered_as_undecided() {
    let server = Server::start(&[]);
    let database = server.database();
    let mut other = Gateway::over(server.store(&database, 2)).with(1, 1);
    let (way, mut gateway) = Way::with_gateway(&server, &database);
    let (warm, kept) = (gateway.purchase(1, 1, 1, 1), gateway.purchase(1, 2, 1, 50));
    assert!(gateway.ask(&[warm]).unwrap()[0].code.is_approved());

    way.panic_at_next_commit();
    let answer = gateway.ask(std::slice::from_ref(&kept)).unwrap().remove(0);
    assert!(answer.code.is_approved() && !answer.repeat, "{answer:?}");
    let again = gateway.ask(&[kept]).unwrap().remove(0);
    assert!(again.repeat && again.reference == answer.reference);
    assert_eq!((other.held(1), other.audit().transactions), (51, 2));
}
