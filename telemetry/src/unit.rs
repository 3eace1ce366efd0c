//! Units of properties and conversion between those of one dimension.
//!
//! A unit that the table does not know is accepted as it stands: it is a dimension of its own and
//! converts to nothing but itself. Whoever asks for a conversion from or to it gets a problem.

mod table;

use std::fmt::{self, Display, Write as _};

use table::{ALIASES, KNOWN, Known};

use crate::document::nearest;

/// A unit of measurement; two spellings of one unit are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unit(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    /// Index in the table.
    Known(usize),
    Opaque(Box<str>),
}

impl Unit {
    /// Reads a unit such as `m3/m3`, `%`, `ug/m3` or `°C`; a text outside the table is a unit of its own.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let alias =
            ALIASES.iter().find(|(written, _)| *written == text).map_or(text, |(_, unit)| unit);
        let known = KNOWN.iter().position(|known| known.name == alias);
        Self(known.map_or_else(|| Kind::Opaque(text.into()), Kind::Known))
    }

    /// Returns the unit as it is written: the table's spelling where the table knows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Known(_) => self.known().map_or("", |known| known.name),
            Kind::Opaque(text) => text,
        }
    }

    /// Returns whether the table knows the unit, so that it may convert.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.0, Kind::Known(_))
    }

    /// Returns the known unit whose spelling is nearest, for a remedy.
    #[must_use]
    pub fn suggestion(&self) -> Option<&'static str> {
        let names: Vec<&'static str> = KNOWN.iter().map(|known| known.name).collect();
        nearest(self.as_str(), &names)
    }

    /// Returns the units that this one converts to, itself first.
    #[must_use]
    pub fn same_dimension(&self) -> Vec<&str> {
        let own = self.known().map(|known| known.dimension);
        let others = KNOWN
            .iter()
            .filter(|known| Some(known.dimension) == own && known.name != self.as_str());
        std::iter::once(self.as_str()).chain(others.map(|known| known.name)).collect()
    }

    /// Returns how values of this unit become values of `to`; `None`: not of one dimension.
    #[must_use]
    pub fn conversion_to(&self, to: &Self) -> Option<Conversion> {
        if self == to {
            return Some(Conversion { scale: 1.0, offset: 0.0 });
        }
        let (from, to) = (self.known()?, to.known()?);
        let is_same = from.dimension == to.dimension;
        is_same.then(|| Conversion {
            scale: from.scale / to.scale,
            offset: (from.offset - to.offset) / to.scale,
        })
    }

    fn known(&self) -> Option<&'static Known> {
        if let Kind::Known(index) = self.0 { KNOWN.get(index) } else { None }
    }
}

impl Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of unit: `value * scale + offset`, rounded to 12 significant digits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conversion {
    /// Units of the target in one unit of the source.
    pub scale: f64,
    /// Value in the target where the source reads zero.
    pub offset: f64,
}

impl Conversion {
    /// Converts a value. `None` where the result is not finite.
    #[must_use]
    pub fn apply(&self, value: f64) -> Option<f64> {
        // Two roundings on purpose: a fused one would differ where the machine has none (T3).
        let converted = round_12(sum(value * self.scale, self.offset));
        converted.is_finite().then_some(converted)
    }

    /// Converts back. `None` where the result is not finite.
    #[must_use]
    pub fn invert(&self, value: f64) -> Option<f64> {
        let converted = round_12(sum(value, -self.offset) / self.scale);
        converted.is_finite().then_some(converted)
    }
}

/// Adds; where most digits of both cancel, those that are left and say nothing are rounded away: 32 °F are 0 °C.
fn sum(a: f64, b: f64) -> f64 {
    let (sum, larger) = (a + b, a.abs().max(b.abs()));
    if sum.abs() >= larger * 0.1 || !larger.is_finite() {
        return sum;
    }
    rounded_like(sum, larger).unwrap_or(sum)
}

/// Rounds to the place of the twelfth digit of `larger`, alike on every machine.
fn rounded_like(value: f64, larger: f64) -> Option<f64> {
    let mut written = Digits::default();
    write!(written, "{larger:.11e}").ok()?;
    let exponent: i32 = written.as_str()?.split_once('e')?.1.parse().ok()?;
    let decimals = usize::try_from(11 - exponent).ok()?;
    let mut written = Digits::default();
    write!(written, "{value:.decimals$}").ok()?;
    written.as_str()?.parse().ok()
}

/// Rounds to 12 significant decimal digits, exactly and alike on every machine.
///
/// Twelve digits are far beyond any sensor, and hide that `23.1 * 0.01` is not `0.231` in binary.
#[must_use]
pub fn round_12(value: f64) -> f64 {
    let mut text = Digits::default();
    if write!(text, "{value:.11e}").is_err() {
        return value;
    }
    text.as_str().and_then(|written| written.parse().ok()).unwrap_or(value)
}

/// A text on the stack: conversion is on the hot path.
#[derive(Default)]
struct Digits {
    bytes: [u8; 32],
    len: usize,
}

impl Digits {
    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.len)?).ok()
    }
}

impl fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn convert(value: f64, from: &str, to: &str) -> Option<f64> {
        Unit::parse(from).conversion_to(&Unit::parse(to))?.apply(value)
    }

    #[test]
    fn conversions_give_the_decimal_a_person_expects() {
        let cases = [
            (23.1, "%", "m3/m3", 0.231),
            (0.231, "m3/m3", "%", 23.1),
            (300.0, "ug/m3", "mg/m3", 0.3),
            (2.6, "mg/m3", "ug/m3", 2600.0),
            (14.2, "C", "F", 57.56),
            (288.28, "K", "C", 15.13),
            (-40.0, "F", "C", -40.0),
            (32.0, "F", "C", 0.0),
            (31.9, "F", "C", -0.055_555_555_6),
            (273.15, "K", "C", 0.0),
            (273.151, "K", "C", 0.001),
            (273.1501, "K", "C", 0.0001),
            (0.0, "C", "K", 273.15),
            (36.0, "km/h", "m/s", 10.0),
            (64.375, "mph", "km/h", 103.601_52),
            (1.0, "m/s", "km/h", 3.6),
            (25.4, "mm", "cm", 2.54),
            (1.5, "m", "mm", 1500.0),
            (1023.0, "hPa", "kPa", 102.3),
            (101_325.0, "Pa", "hPa", 1013.25),
            (1.2, "dS/m", "mS/cm", 1.2),
            (1200.0, "uS/cm", "dS/m", 1.2),
            (67.0, "veh/5min", "veh/h", 804.0),
            (3600.0, "mV", "V", 3.6),
            (1.0, "kWh/m2", "MJ/m2", 3.6),
            (180.0, "s", "min", 3.0),
            (1500.0, "ppb", "ppm", 1.5),
        ];
        for (value, from, to, expected) in cases {
            assert_eq!(convert(value, from, to), Some(expected), "{value} {from} in {to}");
        }
    }

    #[test]
    fn what_is_not_of_one_dimension_does_not_convert() {
        for (from, to) in
            [("C", "%"), ("ppb", "ug/m3"), ("dBm", "dB"), ("mm", "mm/h"), ("furlong", "m")]
        {
            assert_eq!(convert(1.0, from, to), None, "{from} to {to}");
        }
        assert_eq!(convert(7.0, "furlong", "furlong"), Some(7.0));
    }

    #[test]
    fn two_spellings_are_one_unit_and_exotic_ones_stay_as_written() {
        assert_eq!(Unit::parse("µg/m³"), Unit::parse("ug/m3"));
        assert_eq!(Unit::parse("°C"), Unit::parse("C"));
        assert_eq!(Unit::parse("furlong").as_str(), "furlong");
        assert!(!Unit::parse("furlong").is_known());
        assert_eq!(Unit::parse("ug/m").suggestion(), Some("ug/m3"));
        assert_eq!(Unit::parse("K").same_dimension(), ["K", "C", "F"]);
    }

    #[test]
    fn the_table_names_each_unit_once_and_its_aliases_lead_into_it() {
        let names: BTreeSet<&str> = KNOWN.iter().map(|known| known.name).collect();
        assert_eq!(names.len(), KNOWN.len());
        for (written, unit) in ALIASES {
            assert!(names.contains(unit) && !names.contains(written), "{written}");
        }
        assert!(KNOWN.iter().all(|known| known.scale > 0.0 && known.offset.is_finite()));
    }

    #[test]
    fn overflow_is_no_value() {
        assert_eq!(convert(f64::MAX, "km", "mm"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn there_and_back_is_the_same_to_nine_digits(value in -1e6..1e6f64, pick in any::<prop::sample::Index>()) {
            let from = Unit(Kind::Known(pick.index(KNOWN.len())));
            for to in from.same_dimension() {
                let conversion = from.conversion_to(&Unit::parse(to)).unwrap();
                let back = conversion.invert(conversion.apply(value).unwrap()).unwrap();
                // A temperature near zero loses digits to the offset of 273.15.
                prop_assert!((back - value).abs() <= 1e-9 * value.abs().max(300.0), "{value} {from} via {to}: {back}");
            }
        }

        #[test]
        fn rounding_changes_nothing_that_has_twelve_digits(mantissa in -999_999_999_999i64..999_999_999_999, exponent in -30i32..30) {
            let value: f64 = format!("{mantissa}e{exponent}").parse().unwrap();
            prop_assert_eq!(round_12(value).to_bits(), value.to_bits());
        }
    }
}
