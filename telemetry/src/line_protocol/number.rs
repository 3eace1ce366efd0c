//! The text of numbers: the shortest that reads back.
//!
//! Sensors send few digits. A decimal of at most 15 digits that reads back as the number is the only one of its
//! length, and so the shortest text: it is found by one multiplication and proved by one division. Other numbers take
//! the general way, with the same bytes.

/// Most decimals that are tried.
const SCALE: u64 = 1_000_000;
/// Digits of one block: what is done to eight digits at once in a word.
const BLOCK: u64 = 100_000_000;

/// Appends a number: the shortest text that reads back, without `.0`. It must be finite.
pub(super) fn write_float(out: &mut Vec<u8>, number: f64) {
    if !write_decimal(out, number) {
        let mut digits = ryu::Buffer::new();
        let text = digits.format_finite(number);
        out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
    }
}

/// Appends a number below 10^8 that has at most six decimals; else nothing, and returns `false`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "not below zero, and below 10^15: exact in both types"
)]
fn write_decimal(out: &mut Vec<u8>, number: f64) -> bool {
    let size = number.abs();
    // Below, the general text has an exponent.
    let is_plain = (1e-5..1e8).contains(&size) || size.to_bits() == 0;
    if !is_plain {
        return false;
    }
    let scaled = (size * SCALE as f64 + 0.5) as u64;
    // Both are exact, so that this is the double nearest to the decimal.
    if (scaled as f64 / SCALE as f64).to_bits() != size.to_bits() {
        return false;
    }
    let (whole, rest) = (digits(scaled / SCALE), digits(scaled % SCALE) >> 16);
    let (mut text, mut len) = (u128::from(b'-'), u32::from(number.is_sign_negative()));
    let zeros = leading_zeros(whole).min(7);
    let shown = (whole | ASCII) >> (8 * zeros);
    text = text & !(u128::MAX << (8 * len)) | u128::from(shown) << (8 * len);
    len += 8 - zeros;
    if rest != 0 {
        // The last digit stands in the highest byte that is not zero.
        let decimals = 8 - rest.leading_zeros() / 8;
        let shown = u128::from(b'.') | u128::from(rest | ASCII >> 16) << 8;
        text |= shown << (8 * len);
        len += 1 + decimals;
    }
    put(out, text.to_le_bytes(), len);
    true
}

/// Appends a whole number.
pub(super) fn write_whole(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    let size = number.unsigned_abs();
    let (high, low) = (size / BLOCK, size % BLOCK);
    if high == 0 {
        return write_first(out, low);
    }
    let (top, middle) = (high / BLOCK, high % BLOCK);
    if top == 0 {
        write_first(out, middle);
    } else {
        write_first(out, top);
        out.extend_from_slice(&(digits(middle) | ASCII).to_le_bytes());
    }
    out.extend_from_slice(&(digits(low) | ASCII).to_le_bytes());
}

/// Appends a block without its leading zeros.
fn write_first(out: &mut Vec<u8>, block: u64) {
    let digits = digits(block);
    let zeros = leading_zeros(digits).min(7);
    put(out, ((digits | ASCII) >> (8 * zeros)).to_le_bytes(), 8 - zeros);
}

/// Appends the first `len` of some bytes; a copy of a fixed length is cheaper than one of any.
fn put<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N], len: u32) {
    let end = out.len() + usize::try_from(len).unwrap_or(N);
    out.extend_from_slice(&bytes);
    out.truncate(end);
}

/// What makes digits characters.
const ASCII: u64 = 0x3030_3030_3030_3030;

/// Returns the eight digits of a number below 10^8, one in each byte, the first in the lowest.
const fn digits(number: u64) -> u64 {
    debug_assert!(number < BLOCK, "eight digits");
    // Two halves of four digits, then four pairs, then eight digits; each division is a multiplication.
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - 10 * tens) << 8)
}

const fn leading_zeros(digits: u64) -> u32 {
    digits.trailing_zeros() / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn general(number: f64) -> String {
        let mut digits = ryu::Buffer::new();
        let text = digits.format_finite(number);
        text.strip_suffix(".0").unwrap_or(text).to_owned()
    }

    fn float(number: f64) -> String {
        let mut out = b"x".to_vec();
        write_float(&mut out, number);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    fn whole(number: i64) -> String {
        let mut out = b"x".to_vec();
        write_whole(&mut out, number);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    #[test]
    fn every_block_of_digits_is_written_as_it_is() {
        for number in (0..BLOCK).step_by(7).chain(0..20_000).chain(BLOCK - 20_000..BLOCK) {
            let text = String::from_utf8((digits(number) | ASCII).to_le_bytes().to_vec()).unwrap();
            assert_eq!(text.parse::<u64>(), Ok(number), "{text}");
        }
    }

    #[test]
    fn the_edges_of_the_short_way_are_as_the_general_way_has_them() {
        for number in [0.0_f64, 1e-6, 9e-6, 1e-5, 0.999_999, 0.1, 1.0, 10.0, 123.456, 99_999_999.0]
        {
            for near in [number, number.next_up(), number.next_down(), 1e8 - number, 1e8 + number] {
                assert_eq!([float(near), float(-near)], [general(near), general(-near)]);
            }
        }
        for number in [0, 7, -7, 10, i64::MIN, i64::MAX, 99_999_999, 100_000_000, -10_i64.pow(16)] {
            for near in [number, number.saturating_sub(1), number.saturating_add(1)] {
                assert_eq!(whole(near), near.to_string());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn a_number_is_written_as_the_general_way_writes_it(
            any in any::<f64>().prop_filter("finite", |any| any.is_finite()),
            digits in 0..10_000_000_000_000_000_u64,
            decimals in 0..20_i32,
            ulps in -2..3_i64,
            number in any::<i64>(),
            shift in 0..64_u32,
        ) {
            prop_assert_eq!(float(any), general(any));
            let short: f64 = format!("{}e-{decimals}", digits >> (shift % 54)).parse().unwrap();
            let near = f64::from_bits(short.to_bits().saturating_add_signed(ulps));
            for number in [short, near, -short] {
                prop_assert_eq!(float(number), general(number));
            }
            prop_assert_eq!(whole(number >> shift), (number >> shift).to_string());
        }
    }
}
