//! A value as it is remembered, to be held against another.

use telemetry::hash::hash64;
use telemetry::reading::Value;

/// A value as it is remembered to tell repeats: numbers and truth themselves, of a text 64 bits of hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Bits of a float; zero has one sign, since 0.0 and -0.0 are the same measurement.
    Float(u64),
    /// A number of a property of type `int`.
    Int(i64),
    /// Truth.
    Bool(bool),
    /// Hash of a text.
    Text(u64),
    /// What a snapshot of the first version kept of a value.
    Hash32(u32),
}

impl Kept {
    /// Returns what is remembered of a value.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Float(number) => Self::Float((number + 0.0).to_bits()),
            Value::Int(number) => Self::Int(*number),
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Text(text) => Self::Text(hash64(text.as_bytes())),
        }
    }

    /// Returns whether a new value is the one remembered.
    #[must_use]
    pub fn is(self, remembered: Self) -> bool {
        match remembered {
            Self::Hash32(hash) => self.hash_32() == hash,
            Self::Float(_) | Self::Int(_) | Self::Bool(_) | Self::Text(_) => self == remembered,
        }
    }

    /// The hash of the first version; never 0, which stood for "absent".
    fn hash_32(self) -> u32 {
        let wide = match self {
            Self::Float(bits) => mix(1, bits),
            Self::Int(number) => mix(2, number.cast_unsigned()),
            Self::Bool(truth) => mix(3, u64::from(truth)),
            Self::Text(hash) => hash,
            Self::Hash32(hash) => return hash,
        };
        u32::try_from(wide >> 32).unwrap_or(0).max(1)
    }
}

/// The finaliser of SplitMix64.
fn mix(kind: u64, bits: u64) -> u64 {
    let mut z = bits.wrapping_add(kind.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
