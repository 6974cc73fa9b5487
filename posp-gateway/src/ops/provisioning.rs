//! The provisioning file of a terminal (`docs/reference/provisioning.md`).

use protocol::ids::{BatchNo, MerchantId, TerminalId};
use protocol::money::Currency;
use serde::{Deserialize, Serialize};

/// Version of the layout.
pub const FORMAT: u32 = 1;

/// As it is in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisioningFile {
    /// [`FORMAT`].
    pub format: u32,
    /// `host:port`.
    pub gateway: String,
    /// Field 41.
    pub terminal: String,
    /// Field 42.
    pub merchant: String,
    /// Acquirer.
    pub acquirer: u64,
    /// The batch to start with.
    pub batch: u32,
    /// For receipts.
    pub merchant_name: String,
    /// ISO 4217.
    pub currency: String,
    /// TR-31 D, usage K1/A/B, under the one-time code's key.
    pub tmk_block: String,
}

impl ProvisioningFile {
    /// For a terminal.
    #[must_use]
    pub fn new(
        gateway: &str,
        (terminal, merchant): (TerminalId, MerchantId),
        acquirer: backend::api::AcquirerId,
        batch: BatchNo,
        (merchant_name, currency): (&str, Currency),
        block: &[u8],
    ) -> Self {
        Self {
            format: FORMAT,
            gateway: gateway.to_owned(),
            terminal: terminal.to_string(),
            merchant: merchant.to_string(),
            acquirer: acquirer.0,
            batch: batch.0,
            merchant_name: merchant_name.to_owned(),
            currency: currency.alpha().to_owned(),
            tmk_block: String::from_utf8_lossy(block).into_owned(),
        }
    }

    /// The text of the file.
    ///
    /// # Errors
    /// A name that TOML cannot hold.
    pub fn to_text(&self) -> Result<String, toml::ser::Error> {
        let head = "# Provisioning file of one terminal. It opens with the one-time code that was shown when it was made.\n";
        Ok(format!("{head}{}", toml::to_string(self)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_keys_of_the_reference_page_in_its_order() {
        let file = ProvisioningFile::new(
            "127.0.0.1:8583",
            (TerminalId::from_text("T0000001").unwrap(), MerchantId::from_text("M1").unwrap()),
            backend::api::AcquirerId(1),
            BatchNo(1),
            ("Corner \"Shop\"", Currency::CNY),
            &[b'D'; 112],
        );
        let text = file.to_text().unwrap();
        let keys: Vec<&str> =
            text.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
        let page =
            ["format", "gateway", "terminal", "merchant", "acquirer", "batch", "merchant_name", "currency"];
        assert_eq!(keys[..8], page);
        assert_eq!(keys[8], "tmk_block");
        assert_eq!(toml::from_str::<ProvisioningFile>(&text).unwrap(), file);
    }
}
