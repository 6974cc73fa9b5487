//! Trees of BER-TLV for host-side code, in the types of the crate `iso7816-tlv`.
//!
//! That crate's own parser recurses without bound and refuses `00` padding, so trees are built from our reader, behind
//! its limits; the depth limit bounds the recursion here.

use super::{Elements, Limits, Tlv, TlvError, scan};
use alloc::vec::Vec;
use iso7816_tlv::ber;

/// Reads all of `bytes` as a forest of elements.
///
/// # Errors
/// Any of [`TlvError`]; [`TlvError::BadLength`] also for a tag that `iso7816-tlv` does not know as valid.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Vec<ber::Tlv>, TlvError> {
    scan(bytes, limits)?;
    Elements::new(bytes, limits).map(|element| build(element?, limits)).collect()
}

fn build(element: Tlv<'_>, limits: Limits) -> Result<ber::Tlv, TlvError> {
    let tag = ber::Tag::try_from(u64::from(element.tag.number())).map_err(|_| TlvError::BadLength)?;
    let value = if element.tag.is_constructed() {
        let children = element.children(limits).map(|child| build(child?, limits));
        ber::Value::Constructed(children.collect::<Result<_, _>>()?)
    } else {
        ber::Value::Primitive(element.value.into())
    };
    ber::Tlv::new(tag, value).map_err(|_| TlvError::BadLength)
}
