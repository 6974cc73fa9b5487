//! Terminals on the loopback, signed in, that ask a gateway in this process as fast as it answers; and B2, which asks for the
//! echo (0820/301): access and switch alone. Client and gateway share the machine.

use super::{Row, Unit};
use crate::acquirer::{Acquirer, TestTerminal, enrol};
use anyhow::Context as _;
use backend::store::memory::MemoryStore;
use posp_gateway::access::Limits;
use protocol::ids::Stan;
use protocol::iso8583::frame::split;
use protocol::iso8583::typed::ResponseCode;
use protocol::iso8583::{AES, Frame, HeaderRule, Message};
use std::collections::HashMap;
use std::io::Read;
use std::time::{Duration, Instant};

/// Terminals, each on a connection of its own.
pub(super) const CONNECTIONS: u32 = 32;
/// Requests of a terminal that wait for their answers.
pub(super) const DEPTH: usize = 16;
const MEASURED: Duration = Duration::from_secs(5);

/// Makes the next request of the `n`-th terminal.
pub(super) type Next = fn(&mut TestTerminal, u32) -> (Stan, Vec<u8>);

fn echo(terminal: &mut TestTerminal, _: u32) -> (Stan, Vec<u8>) {
    let trace = terminal.next_trace();
    (trace, terminal.echo_frame(trace))
}

/// B2.
pub(super) fn echoes() -> anyhow::Result<Vec<Row>> {
    let acquirer = Acquirer::over(MemoryStore::new(), CONNECTIONS, 1, Limits::default());
    let mut rows = Vec::new();
    for (id, depth) in [("B2", 1), ("B2/depth16", DEPTH)] {
        let (rate, _) = drive(&acquirer, depth, echo)?;
        let work = format!("echo, {CONNECTIONS} connections, depth {depth}, client on the same machine");
        rows.push(Row::new(id, &work, rate, Unit::PerSecond));
    }
    Ok(rows)
}

/// Drives all terminals at once and returns the rate and every time from request to answer.
pub(super) fn drive(acquirer: &Acquirer, depth: usize, next: Next) -> anyhow::Result<(f64, Vec<Duration>)> {
    // Traces of an earlier run of these terminals stay behind.
    let terminals = signed_in(acquirer, if depth == 1 { 0 } else { 500_000 });
    let began = Instant::now();
    let threads: Vec<_> = (1..)
        .zip(terminals)
        .map(|(n, terminal)| std::thread::spawn(move || one((terminal, n), depth, next, began)))
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| anyhow::anyhow!("a terminal failed"))??);
    }
    Ok((times.len() as f64 / began.elapsed().as_secs_f64(), times))
}

/// The terminals, whose traces go on after `trace`.
pub(super) fn signed_in(acquirer: &Acquirer, trace: u32) -> Vec<TestTerminal> {
    let one = |n| {
        let mut terminal = TestTerminal::new(acquirer.address, n, enrol(&*acquirer.keys, n));
        terminal.trace = Stan(trace);
        terminal.sign_in();
        terminal
    };
    (1..=CONNECTIONS).map(one).collect()
}

fn one(
    (mut terminal, n): (TestTerminal, u32),
    depth: usize,
    next: Next,
    began: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut open: HashMap<u32, Instant> = HashMap::new();
    let (mut times, mut received, mut buffer) = (Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    loop {
        let mut out = Vec::new();
        while open.len() < depth && began.elapsed() < MEASURED {
            let (trace, frame) = next(&mut terminal, n);
            open.insert(trace.0, Instant::now());
            out.extend_from_slice(&frame);
        }
        terminal.send(&out)?;
        if open.is_empty() {
            return Ok(times);
        }
        let read = terminal.stream().read(&mut buffer)?;
        anyhow::ensure!(read > 0, "the gateway closed the connection");
        received.extend_from_slice(&buffer[..read]);
        let rest = approved(&received, |trace| {
            let sent = open.remove(&trace.0).context("an answer to nothing")?;
            times.push(sent.elapsed());
            Ok(())
        })?;
        received.drain(..received.len() - rest);
    }
}

/// Hands on the trace of each whole answer in what was received, which must approve; the length of what is left.
pub(super) fn approved(
    received: &[u8],
    mut each: impl FnMut(Stan) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut rest = received;
    while let Some((body, after)) = split(rest)? {
        let message = Message::parse(&AES, Frame::parse(body, HeaderRule::Present)?.message)?;
        let code: ResponseCode = message.need()?;
        anyhow::ensure!(code.is_approved(), "answered {code}");
        each(message.need()?)?;
        rest = after;
    }
    Ok(rest.len())
}
