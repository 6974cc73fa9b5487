//! A message for people: one line a field, card data masked.
//!
//! What may be shown is the table's word ([`Privacy`]): of a card number the first 6 and last 4 digits, of track, PIN
//! block, keys and opaque fields only that they are there. Elements of field 55 are shown if they are on a list of
//! harmless ones; any other, above all 57 and 5A, by length.

use super::{Coding, Message, Privacy, Value};
use crate::hex::Hex;
use crate::pan::Pan;
use crate::tlv::{Elements, Limits, Tag};
use core::fmt;

/// Elements that tell nothing about whose card it is.
const HARMLESS: [u32; 23] = [
    0x82, 0x84, 0x8A, 0x95, 0x9A, 0x9B, 0x9C, 0x5F2A, 0x9F02, 0x9F03, 0x9F09, 0x9F10, 0x9F1A, 0x9F1E, 0x9F26,
    0x9F27, 0x9F33, 0x9F34, 0x9F35, 0x9F36, 0x9F37, 0x9F41, 0x91,
];

/// Shows a message; see [`Message::describe`].
#[derive(Clone, Copy, Debug)]
pub struct Description<'m, 'a>(&'m Message<'a>);

impl<'a> Message<'a> {
    /// For people: type, dialect and every field, with card data masked.
    #[must_use]
    pub const fn describe(&self) -> Description<'_, 'a> {
        Description(self)
    }
}

impl fmt::Display for Description<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.0;
        write!(f, "{} ({}, {} bytes)", message.mti(), message.dialect().name, message.bytes().len())?;
        for value in message.fields() {
            write!(f, "\n{:>4}  {:<26}", value.no().0, value.table().name)?;
            content(f, &value)?;
        }
        Ok(())
    }
}

fn content(f: &mut fmt::Formatter<'_>, value: &Value<'_>) -> fmt::Result {
    match value.table().privacy {
        Privacy::Hidden => length(f, value),
        Privacy::Tlv => {
            length(f, value)?;
            elements(f, value.bytes())
        }
        Privacy::Pan => match Pan::from_digits(value.digits().iter()) {
            Ok(pan) => write!(f, "{pan}"),
            Err(_) => length(f, value),
        },
        Privacy::Open => open(f, value),
    }
}

fn length(f: &mut fmt::Formatter<'_>, value: &Value<'_>) -> fmt::Result {
    let unit = match value.table().coding {
        Coding::Packed(_) | Coding::PackedTrack | Coding::Digits | Coding::Track => "digits",
        Coding::Text(_) => "characters",
        Coding::Bytes | Coding::Hex => "bytes",
    };
    write!(f, "({} {unit})", value.units())
}

fn open(f: &mut fmt::Formatter<'_>, value: &Value<'_>) -> fmt::Result {
    match value.table().coding {
        Coding::Packed(_) | Coding::PackedTrack | Coding::Digits | Coding::Track => {
            value.digits().iter().try_for_each(|digit| match digit {
                0..=9 => write!(f, "{digit}"),
                _ => f.write_str("="),
            })
        }
        Coding::Text(_) => {
            let shown = |byte: &u8| if (0x20..0x7F).contains(byte) { char::from(*byte) } else { '·' };
            f.write_str("\"")?;
            value.bytes().iter().try_for_each(|byte| write!(f, "{}", shown(byte)))?;
            f.write_str("\"")
        }
        Coding::Bytes => write!(f, "{}", Hex(value.bytes())),
        Coding::Hex => value.bytes().iter().try_for_each(|byte| write!(f, "{}", char::from(*byte))),
    }
}

fn elements(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let limits = Limits { depth: 1, elements: 64, value_bytes: 999 };
    for element in Elements::new(bytes, limits) {
        match element {
            Ok(element) if HARMLESS.iter().any(|tag| Tag::new(*tag) == element.tag) => {
                write!(f, "\n        {} {}", element.tag, Hex(element.value))?;
            }
            Ok(element) => write!(f, "\n        {} ({} bytes)", element.tag, element.value.len())?,
            Err(error) => write!(f, "\n        {error}")?,
        }
    }
    Ok(())
}
