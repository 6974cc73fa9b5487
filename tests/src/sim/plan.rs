//! A history as data: what is issued, who goes where, and what goes wrong. A seed makes a [`Plan`] ([`super::temper`]); the world only
//! carries it out. Because the plan is data, a failing one can be made shorter and tried again ([`super::shrink`]).
//!
//! Faults name the moment they strike by a count (the third APDU of this presence, the second store of this visit).
//! One that never comes to pass because the visit ended before does nothing.

use card_applet_sim::memory::Survival;
use protocol::ids::KeyVersion;
use protocol::money::CardAmount;
use protocol::purse::Suite;

/// Everything that a history is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of the cards' random numbers.
    pub seed: u64,
    /// The cards, each with its own serial number, issued empty.
    pub cards: Vec<CardPlan>,
    /// The terminals, each with a SAM.
    pub terminals: Vec<TerminalPlan>,
    /// Terminals of another maker, which take cards online; they are numbered after the others.
    pub counters: usize,
    /// The acquirer's gateways.
    pub gateways: Gateways,
    /// What happens, one act begun after the other.
    pub acts: Vec<Act>,
}

/// The acquirer's gateways, all on one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gateways {
    /// How many; at least one.
    pub count: usize,
    /// Every connection goes to the next gateway, as somebody who shares them out would do it. Else a terminal stays with its gateway until
    /// that cannot be reached, or the plan sends it to another.
    pub in_turn: bool,
    /// A batch is decided while the commit of the one before is on its way, as on PostgreSQL. Else each commit is alone, as in a file.
    pub overlap: bool,
}

impl Gateways {
    /// One, alone.
    pub const ONE: Self = Self { count: 1, in_turn: false, overlap: false };
}

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Act {
    /// Somebody stands at a terminal.
    Visit(Visit),
    /// A terminal does something at its gateway; the next act begins while it is at it.
    Errand(Errand),
    /// A counter takes a card online; the next act begins while it is at it.
    Online(Online),
    /// Somebody copies memories.
    Copy {
        /// Milliseconds since the act before.
        after_ms: u64,
        /// What.
        what: Copying,
    },
    /// Keys of a terminal change, or what it accepts.
    Keys {
        /// Which terminal.
        terminal: usize,
        /// Milliseconds since the act before.
        after_ms: u64,
        /// What.
        what: Rekey,
    },
    /// Somebody is at a terminal's disk.
    Disk {
        /// Which terminal.
        terminal: usize,
        /// Milliseconds since the act before.
        after_ms: u64,
        /// What.
        what: Imaging,
    },
}

/// A change of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rekey {
    /// The terminal's profile accepts the issuers' second key version from now on.
    Profile,
    /// The terminal is enrolled again at the gateway: its old master key is dead.
    Renew,
    /// The terminal is given the master key that the gateway has.
    Provision,
}

/// What somebody does to a terminal's disk. Its SAM, the cards and the gateway go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imaging {
    /// Takes an image of it, for later.
    Keep,
    /// Writes the image back: the journal is an old one.
    Restore,
    /// Puts an empty one in, or the SAM into a new device.
    Replace,
}

/// What somebody with the right tools does to a card's memory. Indices beyond the plan's cards are the clones, in the order in which
/// they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// Reads it out, for later.
    Keep(usize),
    /// Writes into the card what was read out of it.
    Restore(usize),
    /// Writes what was read out into another chip.
    Clone(usize),
}

/// Something a terminal does at its gateway.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Which terminal.
    pub terminal: usize,
    /// What.
    pub task: Task,
    /// Milliseconds since the act before.
    pub after_ms: u64,
    /// What goes wrong in the terminal: crashes at stores and refusing disks, counted since the errand began.
    pub faults: Vec<TerminalFault>,
    /// What goes wrong on its line.
    pub line: Vec<LineFault>,
    /// What goes wrong at the gateway.
    pub gateway: Vec<GatewayFault>,
}

/// What a terminal does at its gateway. The last five are crooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Fetches new working keys.
    SignIn,
    /// Sends what waits.
    Upload,
    /// The same, with payments that still wait for their card.
    UploadOpen,
    /// Settles its batch.
    Settle,
    /// Takes its connection down.
    HangUp,
    /// Asks for its newest load once more under the same trace number, as terminals of other makers repeat what was not answered.
    RepeatLoad,
    /// Settles with totals that it never counted.
    SettleLying(u32),
    /// Uploads another terminal's records as its own.
    Steal {
        /// Whose.
        from: usize,
    },
    /// Uploads its newest payment with another amount.
    Tamper(u32),
    /// Reverses the last load that it credited to a card.
    ReverseLoaded,
    /// Reverses a load before it asks for it, with what a card once said.
    ReverseFirst,
}

/// Something that a counter does.
#[derive(Clone, Debug)]
pub struct Online {
    /// Which counter.
    pub counter: usize,
    /// What.
    pub deal: Deal,
    /// Milliseconds since the act before.
    pub after_ms: u64,
    /// It dies before it has noted the first answer.
    pub dies: bool,
    /// What goes wrong on its line.
    pub line: Vec<LineFault>,
    /// What goes wrong at the gateway.
    pub gateway: Vec<GatewayFault>,
}

/// What a counter is to do. What is about an earlier sale is about the newest one that it can be about; if there is none, nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deal {
    /// Takes money.
    Purchase {
        /// From this cardholder.
        payer: u32,
        /// Minor units.
        minor: u64,
    },
    /// Takes a purchase of the open batch back.
    Void,
    /// Pays back of a sale of a batch that is closed.
    Refund {
        /// Minor units at most.
        minor: u64,
    },
    /// Has money held.
    Authorise {
        /// Of this cardholder.
        payer: u32,
        /// Minor units.
        minor: u64,
    },
    /// Takes what is held, or less.
    Complete {
        /// Minor units at most.
        minor: u64,
        /// It is told, not asked.
        advice: bool,
    },
    /// Lets go what is held.
    VoidAuthorisation,
    /// Takes a completion of the open batch back.
    VoidCompletion,
    /// Settles the batch.
    Settle,
}

/// A direction on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the gateway.
    Up,
    /// To the terminal.
    Down,
}

/// What goes wrong on a terminal's line. Frames are counted in their direction since the act began, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// Direction.
    pub way: Way,
    /// Frame.
    pub frame: usize,
    /// What happens to it.
    pub blow: Blow,
}

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// It is lost.
    Lost,
    /// It comes twice, the second time so many milliseconds later.
    Twice(u64),
    /// It comes so many milliseconds later: others overtake it, or its request has been given up.
    Late(u64),
    /// One bit of this byte is another.
    Garbled(usize),
    /// It comes in two pieces, cut before this byte.
    Split(usize),
    /// The connection breaks instead.
    Cut,
    /// The connection breaks right after it.
    CutAfter,
    /// From it on nothing passes for so many milliseconds.
    Silence(u64),
    /// A frame from before comes again behind it: this many back.
    Replay(usize),
    /// It arrives, its connection breaks, and the terminal goes over to the next gateway.
    Over,
    /// The connection breaks, and the terminal goes over to the next gateway; the frame reaches its own so many milliseconds later all the same.
    LateOver(u64),
    /// From it on nothing passes between the terminal and this gateway for so many milliseconds; the others can be reached.
    Parted(u64),
}

/// What goes wrong at the gateways. Commits are counted since the act began, from 0, whichever gateway makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayFault {
    /// Commit.
    pub commit: usize,
    /// What happens.
    pub trouble: Trouble,
}

/// What happens at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It dies before the commit is durable, and starts again after so many milliseconds.
    DiesBefore(u64),
    /// It dies right after the commit is durable.
    DiesAfter(u64),
    /// Its disk is full.
    Full,
    /// Its disk reports a failure and keeps nothing.
    Fails,
    /// The issuer is out: everything is answered 91, and nothing decided.
    IssuerOut,
    /// Its wall clock jumps.
    ClockJump(i64),
    /// Other gateways are first: its decision begins before their newest commits, and sees them only after so many reads.
    Overtaken {
        /// Commits.
        commits: u64,
        /// Reads.
        reads: usize,
    },
    /// Its writer waits so many milliseconds before it: others are first, and more gathers.
    Slow(u64),
    /// It is on its way for so many milliseconds, if its gateway is not made to ask for it before.
    UnderWay {
        /// Milliseconds.
        ms: u64,
        /// It is durable at once, and others see it: only the word of it takes so long.
        early: bool,
    },
    /// The database gives this commit and those after it back, so many in all, to be decided again.
    Conflicts(u32),
    /// It loses the database at this commit, and reaches it again after so many milliseconds.
    Away {
        /// Milliseconds.
        ms: u64,
        /// The commit was kept.
        kept: bool,
    },
}

/// A card as issued.
#[derive(Clone, Copy, Debug)]
pub struct CardPlan {
    /// Suite.
    pub suite: Suite,
    /// Version of its keys.
    pub version: KeyVersion,
    /// Minor units on the account that its loads draw on.
    pub funds: u32,
    /// What its memory keeps of writes that a power loss interrupts.
    pub survival: Survival,
}

/// A terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct TerminalPlan {
    /// Its SAM is another maker's, without VERIFY_PROVED_PURCHASE.
    pub foreign_sam: bool,
    /// Trace numbers that it has used up in its life before.
    pub traces_used: u32,
    /// Its SAM holds the issuers' first key version alone.
    pub old_sam: bool,
    /// Its profile accepts the first key version alone.
    pub old_profile: bool,
}

/// What somebody wants at a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To pay.
    Pay(CardAmount),
    /// To have a card loaded.
    Load(CardAmount),
}

/// A payment or load at a terminal, as the people there see it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Which terminal.
    pub terminal: usize,
    /// What it is about.
    pub want: Want,
    /// Milliseconds since the visit before.
    pub after_ms: u64,
    /// What comes into the field, in order. After the last the terminal waits until it gives up.
    pub field: Vec<Presence>,
    /// What goes wrong on the terminal's side.
    pub faults: Vec<TerminalFault>,
    /// What goes wrong on its line, of a load.
    pub line: Vec<LineFault>,
    /// What goes wrong at the gateway, of a load.
    pub gateway: Vec<GatewayFault>,
}

/// Something that happens while a terminal waits for a card.
#[derive(Clone, Debug)]
pub enum Presence {
    /// A card is held to the reader.
    Card {
        /// Which.
        card: usize,
        /// What goes wrong with it.
        fault: Option<CardFault>,
        /// It stays on the reader when it should be taken away.
        lingers: bool,
    },
    /// Meanwhile, at another terminal.
    Elsewhere(Box<Visit>),
    /// The cashier cancels.
    Cancel,
}

/// What goes wrong between card and reader. Counts are APDUs since the card came, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardFault {
    /// The field breaks down while the command is under way, after so many of its bytes: the card does nothing.
    CommandLost {
        /// APDU.
        apdu: usize,
        /// Bytes of the command that were sent.
        bytes: usize,
    },
    /// The card does it; the field breaks down after so many bytes of its answer.
    AnswerLost {
        /// APDU.
        apdu: usize,
        /// Bytes of the answer that came.
        bytes: usize,
    },
    /// The power fails inside the card's memory, after so many writes and syncs of this command.
    PowerLost {
        /// APDU.
        apdu: usize,
        /// Writes and syncs that still succeed.
        operations: u64,
        /// Share of 256 of the torn write that reaches the medium.
        share: u8,
    },
    /// The card's memory takes no change for as long as the card is here.
    MemoryRefuses,
    /// MAC2 in the answer to DEBIT, or in CREDIT, is changed on the way.
    WrongMac2,
    /// It is taken away while the gateway is asked for its load.
    LeavesWhileAsking,
}

/// What goes wrong in a terminal. Counts are of this visit, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalFault {
    /// The SAM is gone before this APDU reaches it.
    SamCommandLost {
        /// APDU to the SAM.
        apdu: usize,
    },
    /// The SAM does it, its answer is lost, and it is gone.
    SamAnswerLost {
        /// APDU to the SAM.
        apdu: usize,
    },
    /// The power fails inside the SAM's memory.
    SamPowerLost {
        /// APDU to the SAM.
        apdu: usize,
        /// Writes and syncs that still succeed.
        operations: u64,
    },
    /// The SAM's memory takes no change during this visit.
    SamMemoryRefuses,
    /// The terminal dies instead of carrying out this step.
    CrashAtStep {
        /// Step.
        step: usize,
    },
    /// The terminal dies in the middle of storing: written, never synced.
    CrashBeforeDurable {
        /// Store.
        store: usize,
    },
    /// The terminal dies right after an entry became durable.
    CrashAfterDurable {
        /// Store.
        store: usize,
    },
    /// From this store on the disk is full.
    DiskFull {
        /// Store.
        store: usize,
    },
    /// The disk reports a failure although the entry is durable.
    StoreLies {
        /// Store.
        store: usize,
    },
    /// The wall clock jumps before this step.
    ClockJump {
        /// Step.
        step: usize,
        /// By so many milliseconds.
        ms: i64,
    },
    /// The wall clock shows no date from this step on.
    ClockNonsense {
        /// Step.
        step: usize,
    },
    /// Crooked: it makes up the issuer's consent to a load instead of asking for it.
    ForgedConsent,
    /// Crooked: it reverses what the card took, instead of confirming it.
    ReversesLoaded,
}

impl Plan {
    /// All faults, for counting and shrinking.
    #[must_use]
    pub fn fault_count(&self) -> usize {
        let of_act = |act: &Act| match act {
            Act::Visit(visit) => visit.fault_count(),
            Act::Errand(errand) => errand.faults.len() + errand.line.len() + errand.gateway.len(),
            Act::Online(act) => usize::from(act.dies) + act.line.len() + act.gateway.len(),
            Act::Copy { .. } | Act::Disk { .. } | Act::Keys { .. } => 1,
        };
        self.acts.iter().map(of_act).sum()
    }

    /// Times a card is presented.
    #[must_use]
    pub fn tap_count(&self) -> usize {
        let of_act = |act: &Act| if let Act::Visit(visit) = act { visit.tap_count() } else { 0 };
        self.acts.iter().map(of_act).sum()
    }
}

impl Visit {
    fn fault_count(&self) -> usize {
        let in_field = self.field.iter().map(|presence| match presence {
            Presence::Card { fault, .. } => usize::from(fault.is_some()),
            Presence::Elsewhere(visit) => visit.fault_count(),
            Presence::Cancel => 0,
        });
        self.faults.len() + self.line.len() + self.gateway.len() + in_field.sum::<usize>()
    }

    fn tap_count(&self) -> usize {
        let taps = self.field.iter().map(|presence| match presence {
            Presence::Card { .. } => 1,
            Presence::Elsewhere(visit) => visit.tap_count(),
            Presence::Cancel => 0,
        });
        taps.sum()
    }
}
