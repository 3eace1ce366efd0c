//! Numbers, times and values in as few bytes as they need: what is remembered of a device is kept in memory as it
//! stands in a snapshot.
//!
//! - A number is a varint, seven bits a byte, the lowest first; one with a sign is folded (0, -1, 1, -2, ...).
//! - A time is its distance from the time before it, in the largest of ns, us, ms and s that divides it; the lowest
//!   two bits say which. A minute takes two bytes.
//! - A value is a varint whose lowest three bits say what the others are; `0.231` is `231` with three decimals and
//!   takes two bytes. Whatever the form, the value that is read is the value that was written, bit for bit.

use telemetry::reading::Value;

use crate::kept::Kept;

/// Nanoseconds of a microsecond, a millisecond and a second.
const MICRO: i64 = 1_000;
const MILLI: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
/// Nanoseconds of the units of a time's distance.
const UNITS: [i64; 4] = [1, MICRO, MILLI, SECOND];
/// Powers of ten that a float holds exactly, by the number of decimals.
const TENS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Decimals that have a form of their own; more are of the form `NEAR`.
const DECIMALS: u8 = 4;
/// A whole number.
const INT: u8 = 5;
/// A word that says what bytes follow.
const RAW: u8 = 6;
/// A float some units in the last place beside a decimal: what a conversion of units leaves.
const NEAR: u8 = 7;
/// Half the span of units in the last place that `NEAR` reaches.
const NEAR_HALF: u64 = 8;
/// Above it a decimal takes no fewer bytes than the float itself.
const NEAR_MAX: f64 = (1_u64 << 42) as f64;
/// Above it not every whole number is a float.
const WHOLE_MAX: f64 = (1_u64 << 52) as f64;

/// Words of the form `RAW`.
mod raw {
    pub(super) const FALSE: u128 = 0;
    pub(super) const TRUE: u128 = 1;
    /// 8 bytes: a float.
    pub(super) const FLOAT: u128 = 2;
    /// 4 bytes: a float that single precision holds.
    pub(super) const SINGLE: u128 = 3;
    /// 8 bytes: hash of a text.
    pub(super) const TEXT_HASH: u128 = 4;
    /// 4 bytes: hash of a value, from a snapshot of the first version.
    pub(super) const HASH_32: u128 = 5;
    /// A length, and a text.
    pub(super) const TEXT: u128 = 6;
}

/// Where packed bytes go: a buffer on the heap, or a small one on the stack.
pub(crate) trait Sink {
    fn byte(&mut self, byte: u8);
    fn bytes(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl<const N: usize> Sink for smallvec::SmallVec<[u8; N]>
where
    [u8; N]: smallvec::Array<Item = u8>,
{
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

pub(crate) fn put_number(out: &mut impl Sink, number: u128) {
    let Ok(mut rest) = u64::try_from(number) else {
        out.byte(low_byte(number) | 0x80);
        return put_number(out, number >> 7);
    };
    while rest >= 0x80 {
        out.byte(low_byte(u128::from(rest)) | 0x80);
        rest >>= 7;
    }
    out.byte(low_byte(u128::from(rest)));
}

fn low_byte(number: u128) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u128> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    if *first < 0x80 {
        return Some(u128::from(*first));
    }
    let mut number = u128::from(*first & 0x7f);
    for shift in (7..77).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u128::from(*byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes a number of a narrower type.
pub(crate) fn take<T: TryFrom<u128>>(bytes: &mut &[u8]) -> Option<T> {
    take_number(bytes).and_then(|number| T::try_from(number).ok())
}

/// Takes so many bytes as they are.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

pub(crate) const fn fold(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

pub(crate) const fn unfold(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Writes a time by its distance from another. Both may be any number.
pub(crate) fn put_time(out: &mut impl Sink, from: i64, to: i64) {
    let distance = to.wrapping_sub(from);
    // Divisors that the compiler knows: a division by others takes longer than all the rest.
    let (number, unit) = match distance {
        0 => (0, 3),
        _ if distance % MICRO != 0 => (distance, 0),
        _ if distance % MILLI != 0 => (distance / MICRO, 1),
        _ if distance % SECOND != 0 => (distance / MILLI, 2),
        _ => (distance / SECOND, 3),
    };
    put_number(out, u128::from(fold(number)) << 2 | unit);
}

pub(crate) fn take_time(bytes: &mut &[u8], from: i64) -> Option<i64> {
    let word = take_number(bytes)?;
    let distance = unfold(u64::try_from(word >> 2).ok()?);
    Some(from.wrapping_add(distance.wrapping_mul(unit_nanos(low_byte(word) & 3))))
}

fn unit_nanos(unit: u8) -> i64 {
    UNITS.get(usize::from(unit)).copied().unwrap_or(1)
}

fn ten(decimals: u8) -> f64 {
    TENS.get(usize::from(decimals)).copied().unwrap_or(1.0)
}

/// Returns a bit of a list of bits.
pub(crate) fn has_bit(bits: &[u8], at: usize) -> bool {
    bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

/// Writes a list of bits, the first in the lowest of the first byte.
pub(crate) fn put_bits(out: &mut impl Sink, bits: impl Iterator<Item = bool>) {
    let (mut byte, mut filled) = (0, 0);
    for bit in bits {
        byte |= u8::from(bit) << filled;
        filled += 1;
        if filled == 8 {
            out.byte(byte);
            (byte, filled) = (0, 0);
        }
    }
    if filled > 0 {
        out.byte(byte);
    }
}

/// Writes a value as it is remembered to tell repeats.
pub(crate) fn put_kept(out: &mut impl Sink, kept: Kept) {
    match kept {
        Kept::Float(bits) => put_float(out, f64::from_bits(bits)),
        Kept::Int(number) => put_number(out, form(u128::from(fold(number)), INT)),
        Kept::Bool(false) => put_number(out, form(raw::FALSE, RAW)),
        Kept::Bool(true) => put_number(out, form(raw::TRUE, RAW)),
        Kept::Text(hash) => {
            put_number(out, form(raw::TEXT_HASH, RAW));
            out.bytes(&hash.to_le_bytes());
        }
        Kept::Hash32(hash) => {
            put_number(out, form(raw::HASH_32, RAW));
            out.bytes(&hash.to_le_bytes());
        }
    }
}

/// Writes a value with all of a text.
pub(crate) fn put_value(out: &mut impl Sink, value: &Value) {
    if let Value::Text(text) = value {
        put_number(out, form(raw::TEXT, RAW));
        put_number(out, text.len() as u128);
        out.bytes(text.as_bytes());
    } else {
        put_kept(out, Kept::of(value));
    }
}

const fn form(number: u128, form: u8) -> u128 {
    number << 3 | form as u128
}

fn put_float(out: &mut impl Sink, number: f64) {
    if let Some((mantissa, decimals)) = decimal(number) {
        return put_number(out, form(u128::from(fold(mantissa)), decimals));
    }
    if let Some((mantissa, decimals, beside)) = near_decimal(number) {
        let word = u128::from(fold(mantissa)) << 8 | u128::from(beside << 4 | u64::from(decimals));
        return put_number(out, form(word, NEAR));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked: nothing was lost")]
    let single = number as f32;
    if f64::from(single).to_bits() == number.to_bits() {
        put_number(out, form(raw::SINGLE, RAW));
        out.bytes(&single.to_le_bytes());
    } else {
        put_number(out, form(raw::FLOAT, RAW));
        out.bytes(&number.to_bits().to_le_bytes());
    }
}

/// Returns the whole number and how many of its digits are decimals, where that is the float, bit for bit.
fn decimal(number: f64) -> Option<(i64, u8)> {
    let mantissa = rounded(number * ten(DECIMALS), WHOLE_MAX)?;
    let is_same = divided(mantissa, DECIMALS).to_bits() == number.to_bits();
    is_same.then(|| without_zeros(mantissa, DECIMALS))
}

/// As [`decimal`], with up to nine decimals, and how many floats lie between the two.
fn near_decimal(number: f64) -> Option<(i64, u8, u64)> {
    const MOST: u8 = 9;
    let mantissa = rounded(number * ten(MOST), NEAR_MAX)?;
    let beside = number.to_bits().wrapping_sub(divided(mantissa, MOST).to_bits());
    let beside = beside.wrapping_add(NEAR_HALF);
    let (mantissa, decimals) = without_zeros(mantissa, MOST);
    (beside < 2 * NEAR_HALF).then_some((mantissa, decimals, beside))
}

fn rounded(number: f64, most: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "checked: it is smaller than `most`")]
    let round = |number: f64| (number + 0.5_f64.copysign(number)) as i64;
    (number.abs() < most).then(|| round(number))
}

fn divided(mantissa: i64, decimals: u8) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "what is written is smaller than 2^53")]
    let whole = mantissa as f64;
    whole / ten(decimals)
}

fn without_zeros(mut mantissa: i64, mut decimals: u8) -> (i64, u8) {
    while decimals > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        decimals -= 1;
    }
    (mantissa, decimals)
}

/// Takes a value that was written to tell repeats.
pub(crate) fn take_kept(bytes: &mut &[u8]) -> Option<Kept> {
    let word = take_number(bytes)?;
    let (tag, number) = (low_byte(word) & 7, word >> 3);
    Some(match tag {
        INT => Kept::Int(unfold(u64::try_from(number).ok()?)),
        NEAR => {
            let low = low_byte(number);
            let mantissa = unfold(u64::try_from(number >> 8).ok()?);
            let beside = u64::from(low >> 4).wrapping_sub(NEAR_HALF);
            Kept::Float(divided(mantissa, low & 0xf).to_bits().wrapping_add(beside))
        }
        RAW => match number {
            raw::FALSE => Kept::Bool(false),
            raw::TRUE => Kept::Bool(true),
            raw::FLOAT => Kept::Float(u64::from_le_bytes(take_array(bytes)?)),
            raw::SINGLE => Kept::Float(f64::from(f32::from_le_bytes(take_array(bytes)?)).to_bits()),
            raw::TEXT_HASH => Kept::Text(u64::from_le_bytes(take_array(bytes)?)),
            raw::HASH_32 => Kept::Hash32(u32::from_le_bytes(take_array(bytes)?)),
            _ => return None,
        },
        decimals => Kept::Float(divided(unfold(u64::try_from(number).ok()?), decimals).to_bits()),
    })
}

/// Takes a value that was written with all of a text.
pub(crate) fn take_value(bytes: &mut &[u8]) -> Option<Value> {
    let mut ahead = *bytes;
    if take_number(&mut ahead)? == form(raw::TEXT, RAW) {
        let len = take(&mut ahead)?;
        let text = str::from_utf8(take_bytes(&mut ahead, len)?).ok()?;
        *bytes = ahead;
        return Some(Value::Text(text.into()));
    }
    match take_kept(bytes)? {
        Kept::Float(bits) => Some(Value::Float(f64::from_bits(bits))),
        Kept::Int(number) => Some(Value::Int(number)),
        Kept::Bool(truth) => Some(Value::Bool(truth)),
        Kept::Text(_) | Kept::Hash32(_) => None,
    }
}

/// Passes a value of either kind. `None`: the bytes end before it does.
pub(crate) fn skip_value(bytes: &mut &[u8]) -> Option<()> {
    // Most are a number of one or two bytes whose form stands in the first.
    match bytes {
        [first @ 0..0x80, rest @ ..] | [first @ 0x80..=0xff, 0..0x80, rest @ ..]
            if first & 7 != RAW =>
        {
            *bytes = rest;
            return Some(());
        }
        _ => {}
    }
    let word = take_number(bytes)?;
    if low_byte(word) & 7 != RAW {
        return Some(());
    }
    let len = match word >> 3 {
        raw::FALSE | raw::TRUE => 0,
        raw::SINGLE | raw::HASH_32 => 4,
        raw::FLOAT | raw::TEXT_HASH => 8,
        raw::TEXT => take(bytes)?,
        _ => return None,
    };
    take_bytes(bytes, len).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept_len(value: &Value) -> usize {
        let mut out = Vec::new();
        let kept = Kept::of(value);
        put_kept(&mut out, kept);
        let mut bytes = out.as_slice();
        assert_eq!(take_kept(&mut bytes), Some(kept), "{value:?}");
        assert!(bytes.is_empty());
        let mut bytes = out.as_slice();
        assert_eq!(skip_value(&mut bytes), Some(()));
        assert!(bytes.is_empty());
        out.len()
    }

    #[test]
    fn what_sensors_send_takes_two_or_three_bytes() {
        for (number, len) in [
            (0.0, 1),
            (-0.0, 1),
            (23.4, 2),
            (-7.0, 1),
            (0.231, 2),
            (101.325, 3),
            (1500.0, 3),
            (39.908_722, 6),
            // A conversion left it: 23.4 * 0.01.
            (0.233_999_999_999_999_99, 6),
            (f64::from(0.1_f32), 5),
            (std::f64::consts::PI, 9),
            (f64::MAX, 9),
        ] {
            assert!(kept_len(&Value::Float(number)) <= len, "{number}");
        }
        assert_eq!(kept_len(&Value::Int(-3)), 1);
        assert_eq!(kept_len(&Value::Bool(true)), 1);
        assert_eq!(kept_len(&Value::Text("NNW".into())), 9);
        kept_len(&Value::Int(i64::MIN));
    }

    #[test]
    fn zero_has_one_sign_and_kinds_are_told_apart() {
        let kept = |value| Kept::of(&value);
        assert_eq!(kept(Value::Float(0.0)), kept(Value::Float(-0.0)));
        assert_ne!(kept(Value::Int(1)), kept(Value::Float(1.0)));
        assert_ne!(kept(Value::Int(1)), kept(Value::Bool(true)));
    }

    proptest! {
        #[test]
        fn any_value_is_read_as_it_was_written(bits: u64, int: i64, text: String, at: i64, from: i64) {
            for value in [Value::Float(f64::from_bits(bits)), Value::Int(int), Value::Text(text.into())] {
                kept_len(&value);
                let mut out = Vec::new();
                put_value(&mut out, &value);
                let (mut bytes, mut skipped) = (out.as_slice(), out.as_slice());
                let again = take_value(&mut bytes).unwrap();
                prop_assert_eq!(Kept::of(&again), Kept::of(&value));
                skip_value(&mut skipped).unwrap();
                prop_assert!(bytes.is_empty() && skipped.is_empty());
            }
            let mut out = Vec::new();
            put_time(&mut out, from, at);
            prop_assert_eq!(take_time(&mut out.as_slice(), from), Some(at));
        }

        #[test]
        fn a_decimal_is_read_as_it_was_written(mantissa in -10_000_000_i64..10_000_000, decimals in 0_u8..10, ulps in 0_u64..20) {
            let number = divided(mantissa, decimals);
            kept_len(&Value::Float(number));
            kept_len(&Value::Float(f64::from_bits(number.to_bits().wrapping_add(ulps).wrapping_sub(10))));
        }

        #[test]
        fn no_bytes_are_too_hostile(bytes: Vec<u8>) {
            let mut all = [bytes.as_slice(); 3];
            let [kept, value, skipped] = &mut all;
            while take_kept(kept).is_some() {}
            while take_value(value).is_some() {}
            while skip_value(skipped).is_some() {}
        }
    }
}
