//! B5: a purchase in software, terminal, SAM and card in memory, the journal left out. B6: the same through a real daemon
//! and vpcd, with the terminal's journal on disk.
//!
//! Both drive the real flow, purse and SAM. In B6 card and SAM live in memory-backed files, so that what their own
//! writes cost is not mixed in; what one durable write costs here is the row B6/fsync, and a tap has four of them: the
//! terminal's two (inside B6/total), the card's and the SAM's.

use super::{INSIDE_ARGUMENT, Row, Unit, percentile};
use crate::daemon::{Daemon, VPCD_PORT, run_inside};
use anyhow::{Context as _, ensure};
use card_applet_sim::attach::{Placed, Station};
use card_applet_sim::issue::{IssuerKeys, NewCard, NewSam};
use card_applet_sim::memory::{FileMedium, JournalMemory, RamMemory};
use card_applet_sim::os::{Card, Transport};
use card_applet_sim::random::SeededRandom;
use flow::machine::{Patience, Standing};
use flow::profile::{Aid, IssuerProfile, Profile};
use flow::purchase::Purchase;
use flow::record::{JournalEntry, RecordId};
use flow::sam::{OpenSam, SamIdentity};
use flow::{Event, Machine, Outcome, Step};
use hardware::{CardEvent, CardReader, PcscReader, ReaderPattern, Sharing};
use protocol::ids::{Asn, IssuerId, KeyIndex, KeyVersion, SamTerminal};
use protocol::money::{CardAmount, Currency};
use protocol::purse::{AID_SUITE_00, AID_SUITE_10, Suite};
use protocol::time::{Mono, Now, Wall};
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use terminal::journal::{Batch, Journal};

const NOW: Now = Now { mono: Mono(0), wall: Wall(1_795_305_599_000), utc_offset_min: 480 };
const SAM: SamTerminal = SamTerminal([0, 0, 0, 0, 0, 0x17]);
const ASN: Asn = Asn([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const SOFTWARE_TAPS: usize = 20_000;
const DAEMON_TAPS: usize = 400;
const WARM_UP: usize = 20;
const FSYNCS: usize = 200;
const INSERTION_TIME_MAX: Duration = Duration::from_secs(10);

/// Sends a command and returns the answer's length.
type Exchange<'t> = &'t mut dyn FnMut(&[u8], &mut [u8]) -> anyhow::Result<usize>;

/// Card, SAM and journal, as a tap meets them.
struct Till<'t> {
    card: Exchange<'t>,
    sam: Exchange<'t>,
    store: &'t mut dyn FnMut(JournalEntry) -> anyhow::Result<RecordId>,
}

impl Till<'_> {
    /// Runs a machine whose card is in the field to its end.
    fn run(&mut self, machine: &mut dyn Machine) -> anyhow::Result<Outcome> {
        let mut answer = [0; 258];
        let standing = Standing::default();
        let mut step = machine.handle(Event::Start, NOW);
        loop {
            let event = match step {
                Step::WaitCard => Event::CardPresent,
                Step::ToCard(command) => {
                    let n = (self.card)(&command, &mut answer)?;
                    Event::CardAnswer(&answer[..n])
                }
                Step::ToSam(command) => {
                    let n = (self.sam)(&command, &mut answer)?;
                    Event::SamAnswer(&answer[..n])
                }
                Step::LookUp(_) => Event::Standing(&standing),
                Step::Store(entry) => Event::Stored((self.store)(entry)?),
                Step::Done(outcome) => return Ok(outcome),
                Step::WaitRemoval | Step::AskHost(_) => {
                    anyhow::bail!("a purchase that goes well asks for neither")
                }
            };
            step = machine.handle(event, NOW);
        }
    }

    fn identify(&mut self) -> anyhow::Result<SamIdentity> {
        match self.run(&mut OpenSam::new())? {
            Outcome::SamReady(identity) => Ok(identity),
            other => anyhow::bail!("the SAM does not say who it is: {other:?}"),
        }
    }

    fn pay(&mut self, profile: &Profile, sam: SamIdentity) -> anyhow::Result<()> {
        let mut purchase = Purchase::new(profile, sam, CardAmount(1), Patience::default())?;
        let outcome = self.run(&mut purchase)?;
        ensure!(matches!(outcome, Outcome::Approved(_)), "the purchase was not approved: {outcome:?}");
        Ok(())
    }
}

fn profile(issuer: IssuerId, suite: Suite) -> anyhow::Result<Profile> {
    let aid = if suite == Suite::Aes { AID_SUITE_10 } else { AID_SUITE_00 };
    let issuer = IssuerProfile {
        issuer,
        aid: Aid::from_slice(&aid).ok().context("an AID is short")?,
        suite,
        key_versions: [KeyVersion(1)].into_iter().collect(),
        key_index: KeyIndex(1),
        upper_factors: Default::default(),
        currency: Currency::CNY,
        single_payment_max: CardAmount(100_000),
    };
    Ok(Profile { issuers: [issuer].into_iter().collect() })
}

/// B5 and B5/suite00.
pub(super) fn measure_software() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (id, suite) in [("B5", Suite::Aes), ("B5/suite00", Suite::Des)] {
        let micros = software(suite)?.as_secs_f64() * 1e6;
        rows.push(Row::new(
            id,
            "offline purchase: terminal, SAM and card in memory, no journal",
            micros,
            Unit::Micros,
        ));
    }
    Ok(rows)
}

/// Mean time of a purchase in memory.
fn software(suite: Suite) -> anyhow::Result<Duration> {
    let keys = IssuerKeys::for_tests(suite, 0);
    let (mut card, mut sam) = (RamMemory::default(), RamMemory::default());
    NewCard::for_tests(ASN).with_balance(CardAmount(90_000)).make(&keys, &mut card)?;
    NewSam::for_tests(SAM).make(std::slice::from_ref(&keys), &mut sam)?;
    let mut card = Card::new(card, SeededRandom::new(1));
    let mut sam = Card::new(sam, SeededRandom::new(2));
    card.power_on()?;
    sam.power_on()?;
    let profile = profile(keys.issuer, suite)?;
    let mut till = Till {
        card: &mut |command, answer| card.transmit(command, answer).context("the card is silent"),
        sam: &mut |command, answer| sam.transmit(command, answer).context("the SAM is silent"),
        store: &mut |_| Ok(RecordId(1)),
    };
    let identity = till.identify()?;
    for _ in 0..SOFTWARE_TAPS / 10 {
        till.pay(&profile, identity)?;
    }
    let started = Instant::now();
    for _ in 0..SOFTWARE_TAPS {
        till.pay(&profile, identity)?;
    }
    Ok(started.elapsed() / u32::try_from(SOFTWARE_TAPS)?)
}

/// B6, in namespaces of its own.
pub(super) fn measure() -> anyhow::Result<Vec<Row>> {
    let text = run_inside(&[INSIDE_ARGUMENT, "B6/tap"])?;
    serde_json::from_str(&text).context("rows of the process in namespaces")
}

pub(super) fn measure_inside() -> anyhow::Result<Vec<Row>> {
    let _daemon = Daemon::start();
    // In the namespace's own memory, not on a disk.
    let memory = tempfile::tempdir_in("/run")?;
    let disk = tempfile::tempdir()?;
    let keys = IssuerKeys::for_tests(Suite::Aes, 0);
    let station = station(memory.path(), &keys)?;
    let (mut card, mut sam) = (slot("00 00")?, slot("00 01")?);
    let mut journal = Journal::create(&disk.path().join("journal.db"))?;
    let profile = profile(keys.issuer, Suite::Aes)?;
    let mut stores = Duration::ZERO;
    let (mut totals, mut above) = (Vec::new(), Vec::new());
    let identity = till(&mut card, &mut sam, &mut journal, &mut stores, &mut |till| till.identify())?;
    for round in 0..DAEMON_TAPS + WARM_UP {
        stores = Duration::ZERO;
        let started = Instant::now();
        till(&mut card, &mut sam, &mut journal, &mut stores, &mut |till| till.pay(&profile, identity))?;
        let total = started.elapsed();
        if round >= WARM_UP {
            totals.push(total);
            above.push(total.saturating_sub(stores));
        }
    }
    station.stop();
    let mut fsyncs = fsyncs(disk.path())?;
    let millis = |samples: &mut [Duration], at| percentile(samples, at).as_secs_f64() * 1e3;
    let row =
        |id, work, samples: &mut [Duration], at| Row::new(id, work, millis(samples, at), Unit::Millis).at(at);
    Ok(vec![
        row("B6", "offline purchase through pcscd and vpcd, above the journal's two commits", &mut above, 50),
        row("B6", "offline purchase through pcscd and vpcd, above the journal's two commits", &mut above, 99),
        row("B6/total", "the same with the terminal's two durable commits", &mut totals, 50),
        row("B6/total", "the same with the terminal's two durable commits", &mut totals, 99),
        row("B6/fsync", "one 4 KiB write and fdatasync on the journal's disk", &mut fsyncs, 50),
    ])
}

fn till<T>(
    card: &mut PcscReader,
    sam: &mut PcscReader,
    journal: &mut Journal,
    stores: &mut Duration,
    work: &mut dyn FnMut(&mut Till<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    work(&mut Till {
        card: &mut |command, answer| Ok(card.transmit(command, answer)?),
        sam: &mut |command, answer| Ok(sam.transmit(command, answer)?),
        store: &mut |entry| {
            let started = Instant::now();
            let ids = journal.commit(&Batch::of(entry, NOW.wall))?;
            *stores += started.elapsed();
            ids.first().copied().context("a stored entry has a number")
        },
    })
}

fn slot(pattern: &str) -> anyhow::Result<PcscReader> {
    let mut reader = PcscReader::new(ReaderPattern::like(pattern), Sharing::Exclusive);
    reader.wait_for(CardEvent::Inserted, INSERTION_TIME_MAX)?;
    reader.connect()?;
    Ok(reader)
}

fn station(folder: &Path, keys: &IssuerKeys) -> anyhow::Result<Station> {
    let (card, sam) = (folder.join("card"), folder.join("sam"));
    NewCard::for_tests(ASN)
        .with_balance(CardAmount(90_000))
        .make(keys, &mut JournalMemory::format(FileMedium::create(&card)?)?)?;
    NewSam::for_tests(SAM)
        .make(std::slice::from_ref(keys), &mut JournalMemory::format(FileMedium::create(&sam)?)?)?;
    let place = |path: &Path| Placed::open(path, Transport::Block);
    let address = SocketAddr::from(([127, 0, 0, 1], VPCD_PORT));
    Ok(Station::start(address, place(&card)?, Some(place(&sam)?), Transport::Block, true)?)
}

/// What one small durable write costs on this disk.
fn fsyncs(folder: &Path) -> anyhow::Result<Vec<Duration>> {
    let mut file = File::create(folder.join("fsync"))?;
    let mut samples = Vec::with_capacity(FSYNCS);
    for _ in 0..FSYNCS {
        let started = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        samples.push(started.elapsed());
    }
    Ok(samples)
}
