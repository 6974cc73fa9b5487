//! The day: a load, four payments while the host is away, two of them interrupted, one that the card cannot pay; then the
//! upload, tried twice and tampered with, the settlement, and the proof.

use super::stage::{CARD, ISSUER, Stage};
use super::telling::Voice;
use super::{office, proof};
use anyhow::{Result, anyhow, ensure};
use protocol::iso8583::f58::RecordAnswer;
use protocol::money::CardAmount;
use serde_json::Value;

/// Loaded in the morning, minor units.
pub const LOADED: u32 = 10_000;
/// All payments of the day, as the acquirer prints them.
const TAKEN: &str = "24.50 CNY";
/// What is left on the card, as the audit prints it.
const LEFT: u64 = 7_550;

/// Plays the day and proves that the books agree.
///
/// # Errors
/// Whatever is not as it should be.
pub fn play(stage: &mut Stage, voice: Voice) -> Result<()> {
    morning(stage, voice)?;
    load(stage, voice)?;
    let coffee = coffee(stage, voice)?;
    lunch(stage, voice)?;
    newspaper(stage, voice)?;
    headphones(stage, voice)?;
    ticket(stage, voice)?;
    upload(stage, voice, &coffee)?;
    settle(stage, voice)?;
    evening(stage, voice)
}

fn morning(stage: &mut Stage, voice: Voice) -> Result<()> {
    voice.scene("Morning");
    stage.personalise("0")?;
    voice.good(
        "The issuer makes its keys, an empty card (suite 10, AES-128) and a SAM for the kiosk.",
        "0.00 CNY",
    );
    let code = office::open(stage)?;
    voice.good(
        "The acquirer opens: issuer, merchant, terminal, SAM, the holder's account.",
        "500.00 CNY in it",
    );
    stage.terminal(["init"])?;
    let provisioned = stage.terminal_says(".", &["provision", "kiosk.toml"], &[("TAPLINE_CODE", &code)])?;
    ensure!(provisioned["ok"] == true, "provision: {provisioned}");
    let checks = stage.doctor()?;
    let ready =
        format!("The kiosk takes its identity. `doctor`: reader “{}”, SAM, gateway, disk.", stage.reader());
    voice.good(&ready, &format!("{checks} checks good"));
    voice.pause();
    Ok(())
}

fn load(stage: &mut Stage, voice: Voice) -> Result<()> {
    voice.scene("08:55  A load, 100.00, online");
    let said = office::top_up(stage, "100.00")?;
    expect(&said, "outcome", "loaded")?;
    expect(&said["load"], "standing", "confirmed")?;
    voice.good(
        "PIN; the issuer checks MAC1, holds the money, consents; CREDIT; the card's TAC posts the hold.",
        &format!("{} on card", text(&said["after"])),
    );
    stage.kill_gateway();
    voice.trouble("The acquirer's machine loses power. The kiosk does not mind: the purse pays offline.");
    voice.pause();
    Ok(())
}

fn coffee(stage: &Stage, voice: Voice) -> Result<Value> {
    voice.scene("09:10  A coffee, 3.50");
    let said = stage.sale("3.50")?;
    expect(&said, "outcome", "approved")?;
    expect(&said["payment"], "standing", "approved")?;
    voice.good("One tap: SELECT, INIT; intent durable; DEBIT; the SAM checks the card's MAC2.", &left(&said));
    voice.aside(said["payment"]["receipt"].as_str().unwrap_or_default());
    voice.pause();
    Ok(said["payment"].clone())
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

fn ticket(stage: &Stage, voice: Voice) -> Result<()> {
    voice.scene("18:21  A bus ticket, 6.00");
    let said = stage.sale("6.00")?;
    expect(&said, "outcome", "approved")?;
    voice.good("One tap.", &left(&said));
    let failed = stage.terminal_says(".", &["upload"], &[])?;
    expect(&failed["error"], "code", "TL-1615")?;
    voice.good("`upload` while the host is away: nothing is lost, everything waits.", "TL-1615 exit 20");
    voice.pause();
    Ok(())
}

fn upload(stage: &mut Stage, voice: Voice, coffee: &Value) -> Result<()> {
    voice.scene("19:00  The host is back");
    stage.serve()?;
    voice.good("The gateway finds its ledger as it left it.", "");
    office::copy_terminal(stage)?;
    let said = stage.terminal(["upload"])?;
    let sent = booked(&said)?;
    ensure!(said["waiting"] == 0, "something still waits: {said}");
    voice.good(
        "The kiosk uploads: each record is checked by its TAC and booked.",
        &format!("{sent} answered"),
    );
    let before = office::owed(stage)?;
    expect_owed(&before, TAKEN)?;
    let again = stage.terminal_says("copy", &["upload"], &[])?;
    ensure!(booked(&again["result"])? == sent, "a repeat is answered as before: {again}");
    expect_owed(&office::owed(stage)?, TAKEN)?;
    voice.good(
        "A copy of the kiosk uploads the same again: answered as before, booked once.",
        &format!("still {TAKEN}"),
    );
    let answer = office::upload_tampered(stage, coffee, CardAmount(35_000))?;
    ensure!(answer.code == RecordAnswer::TAC_WRONG, "a tampered record is refused: {answer:?}");
    expect_owed(&office::owed(stage)?, TAKEN)?;
    voice.good(
        "Someone makes 350.00 of the coffee, under the kiosk's own keys: the TAC is wrong.",
        "63, refused",
    );
    voice.pause();
    Ok(())
}

fn settle(stage: &Stage, voice: Voice) -> Result<()> {
    voice.scene("20:00  Settlement");
    let said = stage.terminal(["settle"])?;
    expect(&said, "outcome", "balanced")?;
    let (payments, loads) = (&said["gateway"]["payments"], &said["gateway"]["loads"]);
    ensure!(said["terminal"] == said["gateway"], "both sides count the same: {said}");
    voice.good(
        &format!(
            "Both sides count {} payments and {} load. The batch closes, once.",
            payments["count"], loads["count"]
        ),
        &format!("{} / {}", text(&payments["amount"]), text(&loads["amount"])),
    );
    let (lines, owed) = office::owed(stage)?;
    voice.good(&format!("The merchant's statement: {lines} lines, and no word about who paid."), &owed);
    let audit = stage.gateway(&["audit"])?;
    ensure!(audit["clean"] == true, "the audit lists: {audit}");
    voice.good("The audit derives every balance anew: debits = credits, chain unbroken, no exception.", "");
    voice.pause();
    Ok(())
}

/// How many records the gateway answered with 00; all of them, or it is an error.
fn booked(said: &Value) -> Result<usize> {
    let sent = said["sent"].as_array().filter(|sent| !sent.is_empty());
    let sent = sent.ok_or_else(|| anyhow!("nothing was sent: {said}"))?;
    ensure!(sent.iter().all(|item| item["host_code"] == "00"), "not every record was booked: {said}");
    Ok(sent.len())
}

fn expect_owed((_, owed): &(usize, String), wanted: &str) -> Result<()> {
    ensure!(owed == wanted, "the merchant is owed {owed}, expected {wanted}");
    Ok(())
}

fn evening(stage: &mut Stage, voice: Voice) -> Result<()> {
    let history = stage.terminal(["history"])?;
    stage.close()?;
    let card = stage.simulator_says(["inspect", "card"])?;
    let ledger = stage.gateway(&["report", "card", CARD, "--issuer", ISSUER])?;
    voice.scene("Night: do card, journal and ledger agree?");
    proof::show(stage, voice, LOADED, &card, &history)?;
    ensure!(card["balance"] == LEFT, "75.50 are left: {card}");
    let (loaded, spent) = (ledger["loaded"].as_u64(), ledger["spent"].as_u64());
    let agrees = loaded == Some(LOADED.into()) && spent == Some(u64::from(LOADED) - LEFT);
    ensure!(agrees && ledger["open_loads"] == 0, "the ledger says {ledger}");
    voice.good(
        "So does the ledger: loaded 100.00, spent 24.50, nothing open; the merchant has its 24.50.",
        "",
    );
    Ok(())
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
