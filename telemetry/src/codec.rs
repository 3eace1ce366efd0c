//! From the bytes of an uplink to readings, by the profile of the device.
//!
//! Whatever the wire format, a value meets the same rules:
//!
//! | found | becomes |
//! |---|---|
//! | `null`, or nothing where the property is required | no value, flag `missing` |
//! | another type, a number that is not finite | no value, flag `type` |
//! | a number outside the range | the value, flag `range` |
//! | a time that is absent or cannot be read | no time: the pipeline flags it `missing` |
//! | a name that comes twice | the last one counts |
//!
//! [`DecodeError::Malformed`] is for a payload that cannot be read at all, or has no array where the
//! profile says that there is one; one bad element of a batch is [`Element::Bad`](crate::reading::Element::Bad).

mod collect;
mod csv;
pub mod frame;
mod json;
mod lines;
pub(crate) mod plan;

use crate::profile::{CodecKind, Profile};
use crate::reading::Decoded;

pub(crate) use collect::{Collector, Scalar, cell};

/// Most elements of one uplink: each takes some hundred bytes of memory, an element of a payload as few as two.
pub const ELEMENTS_MAX: usize = 10_000;

/// Why a payload gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not readable as a whole; the detail goes with the dead letter and quotes at most a line of input.
    #[error("malformed payload: {0}")]
    Malformed(Box<str>),
}

impl DecodeError {
    pub(crate) fn malformed(detail: &str) -> Self {
        Self::Malformed(crate::problem::excerpt_of(detail, 160).into())
    }
}

/// Decodes a payload by the codec that the profile names.
///
/// # Errors
/// [`DecodeError::Malformed`] where no element can be told.
pub fn decode(profile: &Profile, payload: &[u8]) -> Result<Decoded, DecodeError> {
    if payload.is_empty() {
        return Err(DecodeError::malformed("the payload is empty"));
    }
    match profile.codec {
        CodecKind::Json => json::decode(profile, payload),
        CodecKind::Frame => frame::decode(profile, payload),
        CodecKind::LineProtocol => lines::decode(profile, payload),
        CodecKind::Csv => csv::decode(profile, payload),
    }
}

/// Returns the payload as text without the byte order mark that some tools put before it.
fn text_of(payload: &[u8]) -> Result<&str, DecodeError> {
    let text =
        std::str::from_utf8(payload).map_err(|error| DecodeError::malformed(&error.to_string()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
