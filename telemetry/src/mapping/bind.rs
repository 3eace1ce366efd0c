//! A mapping with its profile: every column knows its property and its conversion.

use std::io::Read;

use super::rows::{OpenError, Rows};
use super::{Column, Mapping};
use crate::document::{Problems, nearest};
use crate::problem::Problem;
use crate::profile::{Profile, PropertyType};
use crate::text::{Text, say};
use crate::unit::Conversion;

/// A mapping with its profile.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub(super) mapping: &'a Mapping,
    pub(super) profile: &'a Profile,
}

/// A column of the mapping as its profile sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) property: u16,
    pub(super) kind: PropertyType,
    pub(super) convert: Option<Conversion>,
    pub(super) missing: Vec<String>,
    pub(super) missing_numbers: Vec<f64>,
}

impl Mapping {
    /// Binds the mapping to its profile; notes each column that names no property or does not convert.
    #[must_use]
    pub fn bind<'a>(&'a self, profile: &'a Profile, problems: &Problems) -> Option<Bound<'a>> {
        let before = problems.len();
        for column in &self.columns {
            if let Err(wrong) = target(column, profile) {
                problems.add(Problem { file: self.file.clone(), line: column.line, ..*wrong });
            }
        }
        (problems.len() == before).then_some(Bound { mapping: self, profile })
    }
}

impl<'a> Bound<'a> {
    /// Begins to read a file. The name, without folders, may name the device.
    ///
    /// # Errors
    /// Where the header lacks a column, or the name of the file gives no device.
    pub fn read<R: Read>(&self, file_name: &str, input: R) -> Result<Rows<'a, R>, OpenError> {
        Rows::open(*self, file_name, input)
    }

    /// Returns the profile.
    #[must_use]
    pub fn profile(&self) -> &'a Profile {
        self.profile
    }

    pub(super) fn targets(&self) -> Vec<Target> {
        self.mapping.columns.iter().filter_map(|column| target(column, self.profile).ok()).collect()
    }
}

/// Returns the column as the profile sees it, or the problem, still without file and line.
fn target(column: &Column, profile: &Profile) -> Result<Target, Box<Problem>> {
    let name = &column.property;
    let found = profile.property(name).and_then(|index| Some((index, profile.property_at(index)?)));
    let Some((index, property)) = found else {
        let names: Vec<&str> =
            profile.properties.iter().map(|property| property.name.as_str()).collect();
        let remedy = match nearest(name, &names) {
            Some(known) => say("document.did_you_mean", &[("known", &known)]),
            None => say("document.choice.remedy", &[("choices", &names.join(", "))]),
        };
        let what = say("mapping.property", &[("name", name), ("profile", &profile.name)]);
        return Err(wrong("property", name, what, remedy));
    };
    let mut convert = None;
    if let Some(unit) = column.unit.as_ref().filter(|unit| **unit != property.unit) {
        if property.kind != PropertyType::Float {
            let (what, remedy) =
                (say("profile.convert_type", &[]), say("mapping.convert_type.remedy", &[]));
            return Err(wrong("unit", unit.as_str(), what, remedy));
        }
        convert = unit.conversion_to(&property.unit);
        if convert.is_none() {
            let units = property.unit.same_dimension().join(", ");
            let what = say("unit.convert", &[("from", unit), ("to", &property.unit)]);
            return Err(wrong(
                "unit",
                unit.as_str(),
                what,
                say("unit.convert.remedy", &[("units", &units)]),
            ));
        }
    }
    let missing_numbers = column.missing.iter().filter_map(|text| text.parse().ok()).collect();
    Ok(Target {
        property: index,
        kind: property.kind,
        convert,
        missing: column.missing.clone(),
        missing_numbers,
    })
}

fn wrong(key: &str, value: &str, what: Text, remedy: Text) -> Box<Problem> {
    let (key, value) = (key.to_owned(), format!("\"{value}\""));
    Box::new(Problem { file: String::new(), line: None, key, value, what, remedy })
}

impl Target {
    /// Returns whether a cell stands for no value.
    pub(super) fn is_missing(&self, cell: &str) -> bool {
        let cell = cell.trim();
        let is_sentinel = || self.missing.iter().any(|text| text == cell);
        // `-9999` in the mapping is `-9999.0` in the file of another tool.
        let is_number = || {
            let number = cell.parse::<f64>().ok().filter(|_| !self.missing_numbers.is_empty());
            number.is_some_and(|number| {
                self.missing_numbers.iter().any(|one| one.total_cmp(&number).is_eq())
            })
        };
        cell.is_empty() || is_sentinel() || is_number()
    }
}
