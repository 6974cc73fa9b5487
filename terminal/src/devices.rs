//! The two slots a terminal works with: the customers' reader and the SAM's, with complete answers (61xx, 6Cxx).

use crate::config::ReaderSettings;
use crate::fault;
use console::{Failure, code};
use hardware::{CardReader, Completing, PcscReader, ReaderError, ReaderPattern};

/// A slot of whatever kind.
pub type Slot = Completing<Box<dyn CardReader + Send>>;

/// The customers' reader and the SAM's slot.
pub struct Devices {
    /// Where customers tap.
    pub card: Slot,
    /// Where the SAM is.
    pub sam: Slot,
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").field("card", &self.card.name()).field("sam", &self.sam.name()).finish()
    }
}

impl Devices {
    /// From two slots (tests bring their own).
    #[must_use]
    pub fn new(card: impl CardReader + Send + 'static, sam: impl CardReader + Send + 'static) -> Self {
        Self { card: Completing::new(Box::new(card)), sam: Completing::new(Box::new(sam)) }
    }

    /// The PC/SC readers that the configuration names, or the only pair there is.
    ///
    /// # Errors
    /// No daemon, no reader, or a choice that is not unique, each with what to do.
    pub fn open(settings: &ReaderSettings) -> Result<Self, Failure> {
        let (card, sam) = (ReaderPattern::like(&settings.card), ReaderPattern::like(&settings.sam));
        let pair = PcscReader::pair(&card, &sam).map_err(|error| choice(settings, error))?;
        let (card, sam) = pair;
        let sam = sam.ok_or_else(|| Failure::new(code::SAM_MISSING).with("reader", card.name()))?;
        Ok(Self::new(card, sam))
    }
}

/// Which key of the configuration a choice failed for.
fn choice(settings: &ReaderSettings, error: ReaderError) -> Failure {
    let wanted_sam = matches!(&error, ReaderError::NoSuchReader { wanted, .. } if *wanted == settings.sam);
    let (key, pattern) = match (wanted_sam, settings.card.is_empty() || settings.sam.is_empty()) {
        (true, _) => ("reader.sam", settings.sam.as_str()),
        (false, true) => ("reader.card", ""),
        (false, false) => ("reader.card", settings.card.as_str()),
    };
    fault::reader(key, pattern, error)
}
