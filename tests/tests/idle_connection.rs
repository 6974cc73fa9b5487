//! What an idle connection costs the gateway, in bytes of heap, counted allocation by allocation: at most 4 KiB. Access, switch and
//! writer run on this one thread, because the counter counts by thread; only the terminal's half is outside the count.
#![cfg(test)]

use backend::Engine;
use backend::store::memory::MemoryStore;
use keys::{KeyModule, SoftKeys};
use posp_gateway::access::{Access, Limits};
use posp_gateway::switch::Switch;
use posp_gateway::writer::{Job, Queue, Writer};
use std::sync::Arc;
use std::time::Duration;
use tests::acquirer::{TestTerminal, clock, enrol, register};
use tokio::runtime::Runtime;

/// Most that an idle connection may hold, in bytes of heap.
const IDLE_BYTES_MAX: i64 = 4 * 1024;
/// Connections that are counted; others come first, for what is bought once.
const COUNTED: u32 = 64;
const EARLIER: u32 = 64;
/// Turns that a request and its answer surely need.
const TURNS: usize = 8;

/// A gateway that does nothing unless it is turned.
struct Gateway {
    runtime: Runtime,
    queue: Arc<Queue>,
    writer: Writer<Engine<MemoryStore>>,
    batch: Vec<Job>,
}

impl Gateway {
    /// Lets everybody do what there is to do; the bytes that were allocated and not freed by it.
    fn turn(&mut self) -> i64 {
        let counted = allocation_counter::measure(|| {
            for _ in 0..TURNS {
                self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
                if self.queue.depth() > 0 && self.queue.take(&mut self.batch) {
                    self.writer.work(&mut self.batch, clock().now());
                }
            }
        });
        counted.bytes_current
    }

    /// Asks and lets the gateway answer; the bytes that stay.
    fn answered(&mut self, terminal: &mut TestTerminal, frame: &[u8]) -> (i64, tests::acquirer::Received) {
        terminal.send(frame).unwrap();
        let kept = self.turn();
        (kept, terminal.receive().unwrap())
    }
}

#[test]
fn an_idle_connection_holds_at_most_four_kibibytes_of_the_gateways_heap() {
    let keys = Arc::new(
        SoftKeys::in_memory(Box::new(|out| getrandom::fill(out).map_err(|_| keys::KeyError::NoEntropy)))
            .unwrap(),
    );
    let shared: Arc<dyn KeyModule> = Arc::<SoftKeys>::clone(&keys);
    let mut engine = Engine::new(MemoryStore::new(), Arc::clone(&shared));
    register(&mut engine, &*keys, EARLIER + COUNTED, 1, 1_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let queue = Arc::new(Queue::default());
    let switch = Arc::new(Switch::new(shared));
    let access = Access::new(switch, Arc::clone(&queue), clock(), Limits::default());
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let running = access.clone();
    runtime.spawn(async move { running.run(listener, stopped, Duration::ZERO).await });
    let mut gateway = Gateway { runtime, queue, writer: Writer::new(engine), batch: Vec::new() };

    let mut terminals = Vec::new();
    let mut kept = 0;
    for n in 1..=EARLIER + COUNTED {
        let mut terminal = TestTerminal::new(address, n, enrol(&*keys, n));
        let trace = terminal.next_trace();
        let frame = terminal.sign_in_frame(trace);
        let (signed_in, answer) = gateway.answered(&mut terminal, &frame);
        terminal.take_keys(&answer);
        // Once more, so that everything that may be kept between two questions is.
        let trace = terminal.next_trace();
        let frame = terminal.sign_in_frame(trace);
        let (again, answer) = gateway.answered(&mut terminal, &frame);
        terminal.take_keys(&answer);
        if n > EARLIER {
            kept += signed_in + again;
        }
        terminals.push(terminal);
    }
    assert_eq!(access.connections(), terminals.len());
    let each = kept / i64::from(COUNTED);
    eprintln!("an idle connection holds {each} bytes");
    assert!((1..=IDLE_BYTES_MAX).contains(&each), "{each} bytes a connection");
}
