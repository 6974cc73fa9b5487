//! B1: one thread parses and rebuilds the published 415-byte UnionPay-style 0200, raw and through typed values.
//!
//! Raw: every digit and character checked, the 21 elements of field 55 walked, every field appended anew, the bytes compared.
//! Typed: each field to its typed value, then a message from those values alone, the bytes compared. Neither allocates
//! (`tests/tests/codec_allocation.rs`). Peers: pyiso8583 in the same run; jPOS's figure is an anchor from the same class of machine.

use super::{Row, Sampling, Unit, rate};
use crate::python;
use protocol::hex::Hex;
use protocol::ids::{MerchantId, Stan, TerminalId};
use protocol::iso8583::typed::{
    AcquirerData, AmountMinor, Batch, CardData, CardSequence, Condition, EncryptedPin, EntryMode, Expiry,
    PinLength, ProcessingCode, SecurityControl, Track2,
};
use protocol::iso8583::{Builder, FieldError, FieldNo, Message, Mti, UNIONPAY, Value};
use protocol::money::Amount;
use protocol::pan::Pan;
use protocol::tlv::TlvError;
use serde_json::json;
use std::hint::black_box;

/// jPOS unpacks and packs the same message at this rate (measured on a 2-core machine, `docs/performance.md`).
const JPOS_ANCHOR: f64 = 214_000.0;
const FRAMES: &str = include_str!("../../frames/unionpay_pos.json");

/// The message of the published purchase, from its message type on.
///
/// # Errors
/// The file of frames is damaged.
pub fn purchase_frame() -> anyhow::Result<Vec<u8>> {
    let file: serde_json::Value = serde_json::from_str(FRAMES)?;
    let text = file["records"][0]["message"].as_str().unwrap_or_default();
    let mut bytes = vec![0; text.len() / 2];
    protocol::hex::decode_into(text, &mut bytes)?;
    anyhow::ensure!(bytes.len() == 415, "the published message has 415 bytes, this one {}", bytes.len());
    Ok(bytes)
}

/// What can go wrong here.
#[derive(Debug)]
pub enum Fault {
    /// A field.
    Field(FieldError),
    /// Field 55.
    Tlv(TlvError),
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

impl From<TlvError> for Fault {
    fn from(error: TlvError) -> Self {
        Self::Tlv(error)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(error) => error.fmt(f),
            Self::Tlv(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

fn walk(card_data: CardData<'_>) -> Result<(), TlvError> {
    for element in card_data.elements() {
        black_box(element?.value);
    }
    Ok(())
}

/// Parses the message and rebuilds it field by field; returns its length.
///
/// # Errors
/// It is no message.
pub fn rebuild(bytes: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
    let message = Message::parse(&UNIONPAY, bytes)?;
    if let Some(card_data) = message.get::<CardData<'_>>()? {
        walk(card_data)?;
    }
    let mut builder = Builder::new(&UNIONPAY, message.mti(), out)?;
    for field in message.fields() {
        builder.copy(&field)?;
    }
    Ok(builder.finish()?)
}

/// The purchase as typed values; fields 48 and 64 have none in a purchase.
#[derive(Debug)]
pub struct Purchase<'a> {
    mti: Mti,
    pan: Pan,
    code: ProcessingCode,
    amount: Amount,
    trace: Stan,
    expiry: Expiry,
    entry: EntryMode,
    sequence: CardSequence,
    condition: Condition,
    pin_length: PinLength,
    track: Track2,
    terminal: TerminalId,
    merchant: MerchantId,
    additional: Option<Value<'a>>,
    pin: EncryptedPin,
    control: SecurityControl,
    card_data: CardData<'a>,
    acquirer: AcquirerData<'a>,
    batch: Batch,
    mac: Option<Value<'a>>,
}

impl<'a> Purchase<'a> {
    /// Reads all of it.
    ///
    /// # Errors
    /// It is no purchase.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let message = Message::parse(&UNIONPAY, bytes)?;
        let card_data: CardData<'_> = message.need()?;
        walk(card_data)?;
        Ok(Self {
            mti: message.mti(),
            pan: message.need()?,
            code: message.need()?,
            amount: Amount::new(message.need::<AmountMinor>()?.0, message.need()?),
            trace: message.need()?,
            expiry: message.need()?,
            entry: message.need()?,
            sequence: message.need()?,
            condition: message.need()?,
            pin_length: message.need()?,
            track: message.need()?,
            terminal: message.need()?,
            merchant: message.need()?,
            additional: message.field(FieldNo(48)),
            pin: message.need()?,
            control: message.need()?,
            card_data,
            acquirer: message.need()?,
            batch: message.need()?,
            mac: message.field(FieldNo::MAC),
        })
    }

    /// Writes it and returns its length.
    ///
    /// # Errors
    /// `out` is too small.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Fault> {
        let mut builder = Builder::new(&UNIONPAY, self.mti, out)?;
        builder.put(&self.pan)?.put(&self.code)?.put(&AmountMinor(self.amount.minor()))?;
        builder.put(&self.trace)?.put(&self.expiry)?.put(&self.entry)?.put(&self.sequence)?;
        builder.put(&self.condition)?.put(&self.pin_length)?.put(&self.track)?;
        builder.put(&self.terminal)?.put(&self.merchant)?;
        if let Some(additional) = &self.additional {
            builder.copy(additional)?;
        }
        builder.put(&self.amount.currency())?.put(&self.pin)?.put(&self.control)?;
        builder.put(&self.card_data)?.put(&self.acquirer)?.put(&self.batch)?;
        if let Some(mac) = &self.mac {
            builder.copy(mac)?;
        }
        Ok(builder.finish()?)
    }
}

/// Parses the message to typed values and rebuilds it from them; returns its length.
///
/// # Errors
/// It is no purchase.
pub fn retype(bytes: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
    Purchase::read(bytes)?.write(out)
}

type Round = fn(&[u8], &mut [u8]) -> Result<usize, Fault>;

/// Rounds a second; the first difference or error ends the measurement.
fn rounds(round: Round, frame: &[u8]) -> anyhow::Result<f64> {
    let mut out = [0; 512];
    let mut failed = None;
    let rate = rate(Sampling::default(), || {
        let frame = black_box(frame);
        match round(frame, &mut out) {
            Ok(length) if out.get(..length) == Some(frame) => {}
            Ok(_) => failed = Some(anyhow::anyhow!("the rebuilt message differs")),
            Err(error) => failed = Some(error.into()),
        }
    });
    failed.map_or(Ok(rate), Err)
}

/// Measures B1, B1/jpos and B1/typed.
///
/// # Errors
/// No Python environment, or a message that does not survive.
pub(super) fn measure() -> anyhow::Result<Vec<Row>> {
    let frame = purchase_frame()?;
    let request = json!({ "dialect": "unionpay", "message": Hex(&frame).to_string(), "seconds": 3.0 });
    let peer = python::Peer::start()?.ask("codec_rate", request)?;
    let peer = peer.as_f64().ok_or_else(|| anyhow::anyhow!("pyiso8583 gave no rate"))?;
    let raw = rounds(rebuild, &frame)?;
    let typed = rounds(retype, &frame)?;
    Ok(vec![
        Row::new("B1", "parse, check, walk F55, rebuild, compare", raw, Unit::PerSecond)
            .beside("pyiso8583 4.0.1", peer),
        Row::new("B1/jpos", "the same, beside jPOS's published figure", raw, Unit::PerSecond)
            .beside("jPOS (anchor)", JPOS_ANCHOR),
        Row::new("B1/typed", "the same through typed values", typed, Unit::PerSecond)
            .beside("pyiso8583 4.0.1", peer),
    ])
}
