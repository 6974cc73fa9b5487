//! B6/apdu: one APDU through a real daemon and vpcd, the card answering at once; B6/activation: from the terminal's
//! `connect` to the ATR. What a tap costs before any payment is computed or stored.
//!
//! Peer: a card whose socket acknowledges as the kernel does by default.

use super::{INSIDE_ARGUMENT, Row, Unit, percentile};
use crate::daemon::{Daemon, VPCD_PORT, run_inside};
use crate::virtual_card::{Acknowledgement, VirtualCard};
use anyhow::Context as _;
use hardware::{CardEvent, CardReader, Exchange, PcscReader, ReaderPattern, Sharing};
use std::time::{Duration, Instant};

const WORK: &str = "one 21-byte command and its 10-byte answer through pcscd and vpcd";
const PEER: &str = "a card with delayed acknowledgements";
const ACTIVATION: &str = "power up to ATR through pcscd and vpcd";

const ATR: [u8; 5] = [0x3B, 0x80, 0x80, 0x01, 0x01];
const ROUNDS: usize = 5_000;
const WARM_UP: usize = 200;
const PEER_ROUNDS: usize = 60;
const ACTIVATIONS: usize = 50;
const INSERTION_TIME_MAX: Duration = Duration::from_secs(10);

/// DEBIT FOR PURCHASE has 21 bytes, its answer 10 (the purse of suite 00): what the largest exchange of a tap weighs.
const COMMAND: [u8; 21] =
    [0x80, 0x54, 0x01, 0x00, 0x0F, 0, 0, 0, 1, 0x20, 0x26, 0x01, 0x01, 0x12, 0, 0, 1, 2, 3, 4, 8];
const ANSWER: [u8; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 0x90, 0x00];

pub(super) fn measure() -> anyhow::Result<Vec<Row>> {
    let text = run_inside(&[INSIDE_ARGUMENT, "B6/apdu"])?;
    serde_json::from_str(&text).context("rows of the process in namespaces")
}

pub(super) fn measure_inside() -> anyhow::Result<Vec<Row>> {
    let _daemon = Daemon::start();
    let mut reader = PcscReader::new(ReaderPattern::like("00 00"), Sharing::Exclusive);
    let mut peer = exchanges(&mut reader, Acknowledgement::Delayed, PEER_ROUNDS, 0)?;
    let mut samples = exchanges(&mut reader, Acknowledgement::Quick, ROUNDS, WARM_UP)?;
    let mut activations = activations(&mut reader)?;
    let micros = |samples: &mut [Duration], at| percentile(samples, at).as_secs_f64() * 1e6;
    let row =
        |id, work, samples: &mut [Duration], at| Row::new(id, work, micros(samples, at), Unit::Micros).at(at);
    Ok(vec![
        row("B6/apdu", WORK, &mut samples, 50).beside(PEER, micros(&mut peer, 50)),
        row("B6/apdu", WORK, &mut samples, 99).beside(PEER, micros(&mut peer, 99)),
        row("B6/activation", ACTIVATION, &mut activations, 50),
        row("B6/activation", ACTIVATION, &mut activations, 99),
    ])
}

fn card(acknowledgement: Acknowledgement) -> anyhow::Result<VirtualCard<impl hardware::MemoryCard>> {
    let card = |_: &[u8], answer: &mut [u8]| {
        answer[..ANSWER.len()].copy_from_slice(&ANSWER);
        Exchange::Answer(ANSWER.len())
    };
    Ok(VirtualCard::insert_with(VPCD_PORT, &ATR, card, acknowledgement)?)
}

/// Round-trip times of `rounds` commands after `warm_up` unmeasured ones.
fn exchanges(
    reader: &mut PcscReader,
    acknowledgement: Acknowledgement,
    rounds: usize,
    warm_up: usize,
) -> anyhow::Result<Vec<Duration>> {
    let card = card(acknowledgement)?;
    reader.wait_for(CardEvent::Inserted, INSERTION_TIME_MAX)?;
    reader.connect()?;
    let mut answer = [0; 258];
    let mut samples = Vec::with_capacity(rounds);
    for round in 0..rounds.saturating_add(warm_up) {
        let started = Instant::now();
        let length = reader.transmit(&COMMAND, &mut answer)?;
        let took = started.elapsed();
        anyhow::ensure!(answer[..length] == ANSWER, "the answer is not the card's");
        if round >= warm_up {
            samples.push(took);
        }
    }
    reader.disconnect()?;
    drop(card);
    reader.wait_for(CardEvent::Removed, INSERTION_TIME_MAX)?;
    Ok(samples)
}

fn activations(reader: &mut PcscReader) -> anyhow::Result<Vec<Duration>> {
    let card = card(Acknowledgement::Quick)?;
    reader.wait_for(CardEvent::Inserted, INSERTION_TIME_MAX)?;
    let mut samples = Vec::with_capacity(ACTIVATIONS);
    for _ in 0..ACTIVATIONS {
        let started = Instant::now();
        reader.connect()?;
        samples.push(started.elapsed());
        reader.disconnect()?;
    }
    drop(card);
    Ok(samples)
}
