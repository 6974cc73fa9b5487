//! The proof at the end of the day, from three sources that share nothing: the card's own log (read from its memory),
//! the terminal's journal (read from its file), and the issuer's keys, with which every TAC is computed anew.

use super::stage::Stage;
use super::telling::Voice;
use anyhow::{Context as _, Result, ensure};
use card_applet_sim::keyfile::KeyFile;
use flow::record::{DebitIntent, RecordId};
use protocol::money::{CardAmount, Currency};
use protocol::purse::keys::KeyUse;
use serde_json::Value;
use terminal::journal::{FILE_NAME, Journal};

/// Shows a line for each debit of the card with its journal record, and the sum.
///
/// # Errors
/// Card and journal do not agree in anything.
pub fn show(stage: &Stage, voice: Voice, loaded: u32, card: &Value, history: &Value) -> Result<()> {
    // Type 06: loads are in the card's log as well.
    let log = card["log"].as_array().context("the card has a log")?;
    let log: Vec<&Value> = log.iter().filter(|entry| entry["kind"] == "06").collect();
    let payments = history["payments"].as_array().context("the journal has payments")?;
    let taken: Vec<&Value> = payments
        .iter()
        .filter(|payment| matches!(payment["standing"].as_str(), Some("approved" | "unverified")))
        .collect();
    ensure!(taken.len() == log.len(), "the card made {} debits, the journal has {}", log.len(), taken.len());
    ensure!(history["uncertain"] == 0, "nothing is left uncertain: {history}");
    let issuer = issuer(stage)?;
    let journal = Journal::open(&stage.path(FILE_NAME)).context("the journal opens")?;
    voice.line(&format!(
        "  {:<34}{:<34}{}",
        "the card's own log", "the terminal's journal", "the issuer's keys"
    ));
    let mut sum = 0;
    // Both are newest first.
    for (debit, payment) in log.iter().zip(&taken).rev() {
        let number = payment["number"].as_u64().context("a record has a number")?;
        let intent = journal.intent(RecordId(number))?;
        let tac = payment["tac"].as_str().unwrap_or_default();
        compare(debit, payment, &intent)?;
        let right = issuer.tac_key(&intent)?.tac(&intent.tac_terms());
        let computed = protocol::hex::Hex(right.as_bytes()).to_string();
        ensure!(computed == tac, "record {number}: TAC {tac}, the issuer computes {computed}");
        sum += intent.amount.0;
        let (amount, seq) = (money(intent.amount.0), intent.term_seq.0);
        let own = format!("debit {} of {amount}", debit["counter"]);
        let booked = format!("record {number}, SAM number {seq}");
        voice.good(&format!("{own:<34}{booked:<34}TAC {tac} is right"), "");
    }
    let balance = u32::try_from(card["balance"].as_u64().context("a balance")?)?;
    ensure!(loaded - balance == sum, "the card lost {}, the journal has {sum}", loaded - balance);
    ensure!(history["amount"]["minor"] == u64::from(sum), "the journal's own sum is another: {history}");
    voice.pause();
    voice.good(
        &format!("{} loaded − {} booked = {} on the card.", money(loaded), money(sum), money(balance)),
        "card and journal agree to the cent",
    );
    Ok(())
}

fn compare(debit: &Value, payment: &Value, intent: &DebitIntent) -> Result<()> {
    let same = debit["amount"] == u64::from(intent.amount.0)
        && debit["terminal"] == payment["terminal"]
        && debit["counter"] == u64::from(intent.counter.0) + 1
        && payment["amount"]["minor"] == u64::from(intent.amount.0);
    ensure!(same, "the card says {debit}, the journal {payment}");
    Ok(())
}

/// The issuer's keys as its own file has them.
struct Issuer(card_applet_sim::issue::IssuerKeys);

impl Issuer {
    fn tac_key(&self, intent: &DebitIntent) -> Result<protocol::purse::keys::TacKey> {
        Ok(self.0.card_key(KeyUse::Tac, intent.card.asn)?.tac_key())
    }
}

fn issuer(stage: &Stage) -> Result<Issuer> {
    let text = std::fs::read_to_string(stage.path("issuer.toml"))?;
    let file: KeyFile = toml::from_str(&text)?;
    Ok(Issuer(file.issuer()?))
}

fn money(minor: u32) -> String {
    CardAmount(minor).in_currency(Currency::CNY).to_string()
}
