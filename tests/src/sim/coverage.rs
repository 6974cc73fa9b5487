//! What histories have been through: which fault struck at which point, and which ends were reached. A point that the
//! budget of a run never hits means that the simulation has gone blind there, and is a failure.

use std::collections::BTreeMap;

/// A kind of fault or end, and the point where it happened.
pub type Point = (&'static str, &'static str);

/// How often each point was hit.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    hits: BTreeMap<Point, u64>,
    /// Cards presented.
    pub taps: u64,
    /// Faults that struck.
    pub faults: u64,
}

/// Commands to the card.
pub const TO_CARD: [&str; 10] = [
    "SELECT",
    "INIT PURCHASE",
    "probe",
    "DEBIT",
    "PROVE",
    "VERIFY PIN",
    "INIT LOAD",
    "CREDIT",
    "PROVE LOAD",
    "READ LOG",
];
/// Commands to the SAM.
pub const TO_SAM: [&str; 4] = ["SAM SELECT", "SAM INIT", "SAM CREDIT", "SAM VERIFY PROVED"];
/// Journal entries.
pub const STORES: [&str; 7] =
    ["intent", "resolution", "load", "load state", "upload answer", "batch", "traces"];
/// Frames on the line.
pub const FRAMES: [&str; 12] = [
    "sign-in",
    "load",
    "confirmation",
    "reversal",
    "upload",
    "settlement",
    "answer to sign-in",
    "answer to load",
    "answer to confirmation",
    "answer to reversal",
    "answer to upload",
    "answer to settlement",
];
/// What counters ask for.
pub const ONLINE: [&str; 8] = [
    "purchase",
    "void",
    "refund",
    "pre-authorisation",
    "pre-authorisation void",
    "completion",
    "completion void",
    "completion advice",
];
/// Answers to it.
pub const ONLINE_ANSWERS: [&str; 8] = [
    "answer to purchase",
    "answer to void",
    "answer to refund",
    "answer to pre-authorisation",
    "answer to pre-authorisation void",
    "answer to completion",
    "answer to completion void",
    "answer to completion advice",
];
/// A counter's reversal, and the answer to it.
pub const ONLINE_REVERSAL: [&str; 2] =
    ["reversal of an online message", "answer to reversal of an online message"];
/// What can be taken back.
pub const REVERSIBLE: [&str; 6] =
    ["purchase", "void", "pre-authorisation", "pre-authorisation void", "completion", "completion void"];
/// What happens to frames.
pub const BLOWS: [&str; 9] = [
    "frame lost",
    "frame doubled",
    "frame late",
    "frame garbled",
    "frame in pieces",
    "connection cut",
    "connection cut after",
    "line silent",
    "old frame again",
];
/// What becomes of a commit on its way, after the next batch has been decided on it.
pub const ON_THEIR_WAY: [&str; 12] = [
    "read while it was on its way",
    "read, and not kept",
    "first of two is durable",
    "first of two fails",
    "first of two given back",
    "first of two overtaken",
    "first of two found kept",
    "first of two found not kept",
    "gateway dies with two, first kept",
    "gateway dies with two, first not kept",
    "database lost with two, first kept",
    "database lost with two, first not kept",
];
/// What terminals do at the gateway.
pub const ERRANDS: [&str; 7] = [
    "sign-in",
    "upload",
    "upload with open",
    "settlement",
    "sign-in before a load",
    "confirmation",
    "lying settlement",
];
/// What a terminal's old journal does not know, or what follows from it.
pub const OLD_JOURNALS: [&str; 10] = [
    "batch closed since",
    "payment made since",
    "load made since",
    "load confirmed since",
    "load reversed since",
    "open debit done since",
    "open debit void since",
    "record answered since",
    "trace numbers used since",
    "trace numbers moved on",
];
/// How a visit ends.
pub const ENDS: [&str; 24] = [
    "approved",
    "approved, recovered",
    "approved, recovered unverified",
    "earlier payment completed",
    "declined: insufficient",
    "declined: above limit",
    "declined: refused by card",
    "declined: refused after wrong MAC2",
    "uncertain: card gone",
    "uncertain: journal failed",
    "uncertain: SAM failed",
    "uncertain: closed",
    "cancelled",
    "nobody came",
    "terminal failed",
    "terminal crashed",
    "loaded",
    "earlier load completed",
    "load uncertain",
    "load: no answer",
    "load: no gateway",
    "declined: by the host",
    "declined: key version",
    "SAM without the key",
];

impl Coverage {
    /// A fault struck.
    pub fn fault(&mut self, kind: &'static str, at: &'static str) {
        self.faults += 1;
        *self.hits.entry((kind, at)).or_default() += 1;
    }

    /// Something that is no fault was reached.
    pub fn reached(&mut self, kind: &'static str, at: &'static str) {
        *self.hits.entry((kind, at)).or_default() += 1;
    }

    /// How often a point was hit.
    #[must_use]
    pub fn count(&self, kind: &'static str, at: &'static str) -> u64 {
        self.hits.get(&(kind, at)).copied().unwrap_or(0)
    }

    /// Takes another's hits in.
    pub fn add(&mut self, other: &Self) {
        for (point, count) in &other.hits {
            *self.hits.entry(*point).or_default() += count;
        }
        self.taps += other.taps;
        self.faults += other.faults;
    }

    /// Every point that must have been hit, and was not.
    #[must_use]
    pub fn missing(&self) -> Vec<Point> {
        required().into_iter().filter(|point| !self.hits.contains_key(point)).collect()
    }

    /// Points that must be hit.
    #[must_use]
    pub fn required_count() -> usize {
        required().len()
    }

    /// The hits as a table, one point a line.
    #[must_use]
    pub fn table(&self) -> String {
        let lines = self.hits.iter().map(|((kind, at), count)| format!("{count:>9}  {kind} · {at}\n"));
        lines.collect()
    }
}

fn required() -> Vec<Point> {
    let mut all = Vec::new();
    let mut cross = |kinds: &[&'static str], points: &[&'static str]| {
        for kind in kinds {
            all.extend(points.iter().map(|point| (*kind, *point)));
        }
    };
    cross(&["command lost", "answer lost"], &TO_CARD);
    cross(&["power lost in memory"], &["DEBIT", "CREDIT"]);
    // A card whose memory refuses says so at VERIFY PIN: it counts tries before it compares.
    cross(&["memory refuses"], &["DEBIT", "VERIFY PIN"]);
    cross(&["wrong MAC2"], &["DEBIT", "CREDIT"]);
    cross(&["SAM command lost", "SAM answer lost"], &TO_SAM);
    cross(&["SAM power lost in memory", "SAM memory refuses"], &["SAM INIT"]);
    cross(&["crash before durable", "crash after durable", "disk full", "store lies"], &STORES);
    cross(&["crash at step"], &TO_CARD);
    cross(&["crash at step"], &TO_SAM);
    cross(&["crash at step"], &["intent", "resolution", "load", "load state"]);
    cross(&["clock jump"], &["back", "ahead"]);
    cross(&["clock nonsense"], &["step"]);
    cross(&["other card"], &["while open"]);
    cross(&["same card elsewhere"], &["while open"]);
    cross(&["card lingers"], &["removal"]);
    cross(&BLOWS, &FRAMES);
    let gateway = ["before durable", "after durable", "disk full", "store fails", "issuer out", "clock jump"];
    cross(&["gateway"], &gateway);
    cross(&["terminal goes over", "frame late, terminal gone over"], &FRAMES);
    cross(&["parted from one gateway"], &["load", "upload", "answer to load", "answer to upload"]);
    let database = [
        "database away before a commit",
        "database away after a commit",
        "database away for a moment",
        "slow",
        "conflicts",
        "batch halved",
    ];
    cross(&["gateway"], &database);
    cross(&["commits on their way"], &ON_THEIR_WAY);
    for frames in [&ONLINE[..], &ONLINE_ANSWERS, &ONLINE_REVERSAL] {
        cross(&BLOWS, frames);
        cross(&["terminal goes over", "frame late, terminal gone over"], frames);
    }
    cross(&["before durable", "after durable", "disk full", "store fails", "issuer out"], &ONLINE);
    cross(&["online approved", "counter dies before it notes the answer"], &ONLINE);
    cross(&["online reversed"], &REVERSIBLE);
    cross(&["online"], &["settled"]);
    cross(&["overtaken"], &["load", "confirmation", "reversal", "upload", "settlement"]);
    let elsewhere = [
        "message again",
        "reversal",
        "confirmation",
        "record again",
        "settlement",
        "upload after the settlement",
    ];
    cross(&["at another gateway"], &elsewhere);
    cross(
        &["gateways"],
        &["one answers while another is down", "one answers while another has lost the database"],
    );
    cross(
        &["connection"],
        &["of somebody on the line", "refused", "ended by the gateway", "ended by the gateway after silence"],
    );
    cross(&["terminal dies at"], &["load state", "upload answer", "batch", "traces"]);
    cross(&["errand done", "errand given up"], &ERRANDS);
    let crooked = [
        "stolen upload",
        "tampered upload",
        "reversal of a load that was credited",
        "load after its reversal",
        "load asked for again",
    ];
    cross(&["errand begins"], &crooked);
    cross(&["load reversed"], &["instead of confirmed"]);
    cross(&["forged"], &["consent"]);
    cross(&["card leaves", "visit elsewhere"], &["while the host is asked"]);
    cross(&["load answered"], &["yes", "no", "not at all"]);
    let loads =
        ["answered", "credit sent", "credited", "refused", "unknown", "declined", "reversed", "confirmed"];
    cross(&["load"], &loads);
    let copies = ["memory read out", "old memory written back", "memory written into another chip"];
    cross(&["card"], &copies);
    cross(&["keys"], &["new profile", "master key renewed", "provisioned again"]);
    let waiting = ["a reversal waiting", "a confirmation waiting", "records waiting", "an errand under way"];
    cross(&["master key renewed with"], &waiting);
    cross(&["given up under a dead master key"], &["upload", "settlement", "sign-in before a load"]);
    cross(&["second key version"], &["approved", "approved, recovered", "loaded"]);
    cross(&["disk"], &["image taken", "restored from an old image", "replaced by an empty one"]);
    cross(&["old journal"], &OLD_JOURNALS);
    cross(&["debit of a lost journal"], &["never made", "booked", "listed as missing"]);
    cross(&["books"], &["compared"]);
    cross(&["end"], &ENDS);
    let resolved = ["done", "void", "unverified", "MAC2 wrong", "SAM lost", "no proof", "rolled back"];
    cross(&["resolved"], &resolved);
    all
}
