//! CSV uplinks: a header row with the columns of the profile's paths, then one reading a row.

mod rows;

use super::plan::Target;
use super::{Collector, DecodeError, ELEMENTS_MAX, Scalar, cell, text_of};
use crate::profile::Profile;
use crate::reading::{Decoded, Element};
use rows::Rows;

pub(super) fn decode(profile: &Profile, payload: &[u8]) -> Result<Decoded, DecodeError> {
    let text = text_of(payload)?;
    Rows::with(text, |rows| decode_rows(profile, rows))
}

fn decode_rows(profile: &Profile, mut rows: Rows<'_>) -> Result<Decoded, DecodeError> {
    // Where there is no row at all, no column of it is a property.
    rows.advance();
    let width = rows.width();
    let columns: Vec<Vec<Target>> =
        rows.cells().map(|name| profile.plan.column(name.trim()).collect()).collect();
    if columns.iter().flatten().all(|target| !matches!(target, Target::Property(_))) {
        return Err(DecodeError::malformed("no column of the header is a property of the profile"));
    }
    let mut collector = Collector::new(profile);
    let mut decoded = Decoded { elements: Vec::new(), is_batch: true };
    while rows.advance() {
        if decoded.elements.len() == ELEMENTS_MAX {
            return Err(DecodeError::malformed(&format!(
                "more than {ELEMENTS_MAX} readings in one uplink"
            )));
        }
        if rows.width() != width {
            let detail = format!("the row has {} cells, the header {width}", rows.width());
            decoded.elements.push(Element::Bad(detail.into()));
            continue;
        }
        for (targets, text) in columns.iter().zip(rows.cells()) {
            for target in targets {
                collector.set(*target, scalar(profile, *target, text));
            }
        }
        decoded.elements.push(collector.finish());
    }
    Ok(decoded)
}

fn scalar<'a>(profile: &Profile, target: Target, text: &'a str) -> Scalar<'a> {
    let Target::Property(index) = target else {
        let trimmed = text.trim();
        return if trimmed.is_empty() { Scalar::Null } else { Scalar::Text(trimmed) };
    };
    profile.property_at(index).map_or(Scalar::Null, |property| cell(property.kind, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::sample;
    use crate::reading::Value;
    use proptest::prelude::*;

    const PROFILE: &str = "name = 'p'\ndomain = 'air'\nmeasurement = 'air'\ninterval = '1h'\ncodec = 'csv'\n\
        [batch]\npath = ''\ndevice = 'station'\n[time]\npath = 'dt'\nformat = 'rfc3339'\n[sequence]\npath = 'seq'\n\
        [[properties]]\nname = 'pm2_5_ug_m3'\npath = 'PM2.5'\nunit = 'ug/m3'\nrequired = true\n\
        [[properties]]\nname = 'wind'\npath = 'wd'\ntype = 'string'\nunit = '1'\n\
        [[properties]]\nname = 'rain'\npath = 'rain'\ntype = 'bool'\nunit = '1'\n";

    #[test]
    fn rows_become_readings_by_the_header() {
        let text = "\u{feff}seq, station ,PM2.5,wd,rain,dt,other\n\
            7,Dongsi,4.5,NNW,true,2013-03-01T00:00:00+08:00,x\n,,,\"a, b\",0,,\n1,2\n8,Tiantan,NA,,maybe,soon,\n9,,nan,,1,,\n";
        let decoded = super::super::decode(&sample(PROFILE), text.as_bytes()).unwrap();
        assert!(decoded.is_batch);
        let [first, second, Element::Bad(short), third, fourth] = &*decoded.elements else {
            panic!("{decoded:?}")
        };
        let reading = |element: &Element| {
            if let Element::Reading(one) = element { one.clone() } else { panic!() }
        };
        let (first, second, third, fourth) =
            (reading(first), reading(second), reading(third), reading(fourth));
        assert_eq!((first.device.as_deref(), first.sequence), (Some("Dongsi"), Some(7)));
        assert_eq!(first.sampled_at.unwrap().to_string(), "2013-02-28T16:00:00Z");
        let values: Vec<_> = first.observations.into_iter().filter_map(|one| one.value).collect();
        assert_eq!(values, [Value::Float(4.5), Value::Text("NNW".into()), Value::Bool(true)]);
        let flags = |reading: &crate::reading::Reading| {
            let codes =
                reading.observations.iter().map(|one| one.flags.codes().collect::<String>());
            codes.collect::<Vec<_>>()
        };
        assert_eq!(flags(&second), ["missing", "", ""]);
        assert_eq!(&**short, "the row has 2 cells, the header 7");
        assert_eq!(flags(&third), ["type", "missing", "type"]);
        assert_eq!(third.sampled_at, None);
        assert_eq!(flags(&fourth), ["type", "missing", ""]);
    }

    #[test]
    fn a_table_of_something_else_is_malformed() {
        for text in ["a,b\n1,2\n", "\n\n", "{\"PM2.5\":1}"] {
            assert!(super::super::decode(&sample(PROFILE), text.as_bytes()).is_err(), "{text}");
        }
        assert!(super::super::decode(&sample(PROFILE), b"PM2.5\n\xff\n").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _decoded = super::super::decode(&sample(PROFILE), &[b"PM2.5,wd\n", &*bytes].concat());
        }
    }
}
