//! The day: four payments, two of them interrupted, and one that the card cannot pay.

use super::proof;
use super::stage::Stage;
use super::telling::Voice;
use anyhow::{Result, ensure};
use serde_json::Value;

/// On the card in the morning, minor units.
pub const ISSUED: u32 = 5_000;

/// Plays the day and proves that the books agree.
///
/// # Errors
/// Whatever is not as it should be.
pub fn play(stage: &mut Stage, voice: Voice) -> Result<()> {
    morning(stage, voice)?;
    coffee(stage, voice)?;
    lunch(stage, voice)?;
    newspaper(stage, voice)?;
    headphones(stage, voice)?;
    evening(stage, voice)
}

fn morning(stage: &mut Stage, voice: Voice) -> Result<()> {
    voice.scene("Morning");
    stage.personalise("50.00")?;
    voice.good(
        "The issuer makes its keys, a card (suite 10, AES-128) and a SAM for the kiosk.",
        "50.00 CNY on card",
    );
    stage.terminal(["init"])?;
    let checks = stage.doctor()?;
    let ready = format!("`terminal doctor`: clock, disk, journal, reader “{}”, SAM.", stage.reader());
    voice.good(&ready, &format!("{checks} checks good"));
    voice.pause();
    Ok(())
}

fn coffee(stage: &Stage, voice: Voice) -> Result<()> {
    voice.scene("09:10  A coffee, 3.50");
    let said = stage.sale("3.50")?;
    expect(&said, "outcome", "approved")?;
    expect(&said["payment"], "standing", "approved")?;
    voice.good("One tap: SELECT, INIT; intent durable; DEBIT; the SAM checks the card's MAC2.", &left(&said));
    voice.aside(said["payment"]["receipt"].as_str().unwrap_or_default());
    voice.pause();
    Ok(())
}

fn lunch(stage: &Stage, voice: Voice) -> Result<()> {
    voice.scene("12:30  Lunch, 12.80, and an impatient customer");
    // DEBIT has the instruction byte 54: the card does it, and is gone before its answer arrives.
    stage.control("tear ins54 answer")?;
    let sale = stage.start_sale("12.80")?;
    stage.insert()?;
    stage.wait_until_torn()?;
    voice.trouble(
        "The card is pulled away right after DEBIT: it has paid, but its answer never reached the kiosk.",
    );
    voice.aside("The kiosk cannot know. It says: present the same card again.");
    stage.insert()?;
    let said = sale.finish()?;
    stage.remove()?;
    expect(&said, "outcome", "approved")?;
    expect(&said["payment"], "standing", "recovered")?;
    voice.good(
        "Same card again: its counter moved on, its proof is right. Recovered, no second debit.",
        &left(&said),
    );
    voice.pause();
    Ok(())
}

fn newspaper(stage: &Stage, voice: Voice) -> Result<()> {
    voice.scene("17:45  A newspaper, 2.20, and a power cut");
    stage.control("tear ins54 answer")?;
    let sale = stage.start_sale("2.20")?;
    stage.insert()?;
    stage.wait_until_torn()?;
    sale.cut_power();
    voice.trouble("The lights go out right after DEBIT: card out of the field, kiosk dead (SIGKILL).");
    let history = stage.terminal(["history", "--uncertain"])?;
    ensure!(history["uncertain"] == 1, "the interrupted payment is listed: {history}");
    expect(&history["payments"][0], "standing", "open")?;
    voice.good(
        "Back on: the journal still knows that a debit is open.",
        &text(&history["payments"][0]["amount"]),
    );
    let said = stage.sale("2.20")?;
    expect(&said, "outcome", "earlier-paid")?;
    ensure!(said["recovered"].as_array().is_some_and(|list| list.len() <= 1), "one was open: {said}");
    voice.good(
        "Next tap of that card: the first newspaper was paid. Nothing is taken for the second ask.",
        "",
    );
    voice.aside(said["what"].as_str().unwrap_or_default());
    voice.pause();
    Ok(())
}

fn headphones(stage: &Stage, voice: Voice) -> Result<()> {
    voice.scene("18:20  Headphones, 99.00");
    let said = stage.sale("99.00")?;
    expect(&said, "outcome", "declined")?;
    expect(&said, "code", "TL-1210")?;
    voice.good(
        "Refused; nothing was taken.",
        &format!("{} exit {}", said["code"].as_str().unwrap_or_default(), said["exit"]),
    );
    voice.aside(said["what"].as_str().unwrap_or_default());
    voice.aside(said["next"].as_str().unwrap_or_default());
    voice.pause();
    Ok(())
}

fn evening(stage: &mut Stage, voice: Voice) -> Result<()> {
    voice.scene("18:21  A bus ticket, 6.00");
    let said = stage.sale("6.00")?;
    expect(&said, "outcome", "approved")?;
    voice.good("One tap.", &left(&said));
    voice.pause();
    let history = stage.terminal(["history"])?;
    stage.close()?;
    let card = stage.simulator_says(["inspect", "card"])?;
    voice.scene("Evening: do the card and the journal agree?");
    proof::show(stage, voice, ISSUED, &card, &history)
}

fn expect(said: &Value, field: &str, wanted: &str) -> Result<()> {
    ensure!(said[field] == wanted, "expected {field} “{wanted}”: {said}");
    Ok(())
}

fn text(money: &Value) -> String {
    money["text"].as_str().unwrap_or_default().to_owned()
}

fn left(said: &Value) -> String {
    format!("{} left", text(&said["payment"]["after"]))
}
