//! A small card operating system (ISO/IEC 7816-4): applications, selection, files, challenges, and the two ways answers
//! leave a card. It follows `docs`' purse page for what the purse and the SAM need.
//!
//! It refuses: logical channels, command chaining, creating and deleting files over the air.

mod applet;
mod card;
pub mod fs;
mod root;

pub use applet::{Applet, Change, Platform, Reply, Stop};
pub use card::{Card, Transport};
pub use root::{FID_ROOT, Root, binary_target, read_binary, read_record, record_target};

use crate::memory::{Batch, Memory, ObjectId};

/// Number of an application on a card; 0 is the MF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(pub u8);

impl AppId {
    /// The MF.
    pub const ROOT: Self = Self(0);

    /// An object of this application.
    #[must_use]
    pub const fn object(self, class: u8, major: u8, minor: u8) -> ObjectId {
        ObjectId::new(self.0, class, major, minor)
    }
}

/// What an application is, as the registry names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppKind {
    /// A purse.
    Purse,
    /// A SAM application.
    Sam,
}

/// An entry of the card's registry of applications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Number of the application.
    pub app: AppId,
    /// What it is.
    pub kind: AppKind,
    /// File identifier of its DF.
    pub fid: u16,
    /// Its DF name (AID), 5 to 16 bytes.
    pub name: Vec<u8>,
}

const CLASS_REGISTRY: u8 = 0x01;
/// Most applications on a card.
pub const APPS_MAX: u8 = 8;

impl Registration {
    /// Enters the application into the registry of a card being made.
    pub fn write(&self, batch: &mut Batch) {
        let [high, low] = self.fid.to_be_bytes();
        let kind = match self.kind {
            AppKind::Purse => 1,
            AppKind::Sam => 2,
        };
        let mut bytes = vec![kind, high, low];
        bytes.extend_from_slice(&self.name);
        batch.put(AppId::ROOT.object(CLASS_REGISTRY, self.app.0, 0), &bytes);
    }

    fn read(memory: &dyn Memory, app: AppId) -> Option<Self> {
        let bytes = memory.get(AppId::ROOT.object(CLASS_REGISTRY, app.0, 0))?;
        let (kind, fid, name) = match bytes {
            [1, high, low, name @ ..] => (AppKind::Purse, [*high, *low], name),
            [2, high, low, name @ ..] => (AppKind::Sam, [*high, *low], name),
            _ => return None,
        };
        Some(Self { app, kind, fid: u16::from_be_bytes(fid), name: name.to_vec() })
    }

    /// The applications of a card, in their order.
    pub fn all(memory: &dyn Memory) -> Vec<Self> {
        (1..=APPS_MAX).filter_map(|app| Self::read(memory, AppId(app))).collect()
    }
}
