//! Mathematics with the same result on every machine: nothing but operations that IEEE 754 rounds exactly.
//!
//! The functions of the standard library for sine and exponential are those of the platform, and differ in
//! their last bits.

use std::f64::consts::{LN_2, LOG2_E, PI};

/// Returns e^x within 1e-8 of it; 0 and the largest number stand for what a double does not hold.
pub(crate) fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let x = x.min(700.0);
    let whole = (x * LOG2_E + 0.5).floor();
    let rest = x - whole * LN_2;
    // Taylor's series: |rest| is at most ln 2 / 2, and the eighth power of that below 3e-4.
    let terms = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let series = terms.iter().fold(0.0, |sum, term| sum * rest + term);
    let exponent = u64::try_from(floor(whole) + 1023).unwrap_or(0);
    series * f64::from_bits(exponent << 52)
}

/// Returns the sine of an angle in turns, within 1e-7.
pub(crate) fn sin(turns: f64) -> f64 {
    let turn = turns - (turns + 0.5).floor();
    let quarter = if turn > 0.25 {
        0.5 - turn
    } else if turn < -0.25 {
        -0.5 - turn
    } else {
        turn
    };
    let x = quarter * 2.0 * PI;
    let square = x * x;
    let terms = [-1.0 / 39_916_800.0, 1.0 / 362_880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0];
    x * terms.iter().fold(0.0, |sum, term| sum * square + term)
}

/// Returns the cosine of an angle in turns, within 1e-7.
pub(crate) fn cos(turns: f64) -> f64 {
    sin(turns + 0.25)
}

/// Returns the whole number below; 0 for what is no number, the ends of the range for what is beyond.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
pub(crate) fn floor(x: f64) -> i64 {
    x.floor() as i64
}

/// Returns a whole number as a float; beyond 2^53 the nearest one.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of any year that matters fit")]
pub(crate) const fn float(x: i64) -> f64 {
    x as f64
}

/// Returns 0 below 0, 1 above 1, and a smooth way between them.
pub(crate) fn ramp(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

/// Returns the value at `x` of a table whose entries stand at 0, 1, 2 …, going round at its end.
pub(crate) fn around<const N: usize>(table: &[f64; N], x: f64) -> f64 {
    let below = x.floor();
    let at = |index: i64| {
        let index = index.rem_euclid(i64::try_from(N).unwrap_or(1));
        usize::try_from(index).ok().and_then(|index| table.get(index)).copied().unwrap_or_default()
    };
    let whole = floor(below);
    let (here, next) = (at(whole), at(whole + 1));
    here + (next - here) * (x - below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_what_the_platform_says_within_their_bounds() {
        for step in -4000..4000_i32 {
            let x = f64::from(step) / 100.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-8, "exp {x}");
            assert!((sin(x) - (x * 2.0 * PI).sin()).abs() < 1e-7, "sin {x}");
            assert!((cos(x) - (x * 2.0 * PI).cos()).abs() < 1e-7, "cos {x}");
        }
        assert_eq!((exp(-800.0), exp(0.0)), (0.0, 1.0));
        assert!(exp(9999.0).is_finite());
    }

    #[test]
    fn a_table_goes_round() {
        let table = [1.0, 3.0, 5.0];
        let read: Vec<f64> = [0.0, 0.5, 2.5, 3.0, -0.5].map(|x| around(&table, x)).into();
        assert_eq!(read, [1.0, 2.0, 3.0, 1.0, 3.0]);
    }
}
