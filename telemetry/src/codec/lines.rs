//! Line protocol as an uplink: one reading a line, fields by the profile's paths.
//!
//! What [`write_reading`](crate::line_protocol::write_reading) wrote reads back as the same reading, where
//! each path is the property's name: `sampled_at_raw` counts before the line's own time, and a flag that says `missing` or `type` where
//! there is no value gives that flag again.

use super::plan::Target;
use super::{Collector, DecodeError, ELEMENTS_MAX, Scalar, text_of};
use crate::line_protocol::{FieldValue, Line, lines};
use crate::profile::Profile;
use crate::reading::{Decoded, Element};
use crate::time::EventTime;

pub(super) fn decode(profile: &Profile, payload: &[u8]) -> Result<Decoded, DecodeError> {
    let text = text_of(payload)?;
    let mut collector = Collector::new(profile);
    let mut decoded = Decoded { elements: Vec::new(), is_batch: true };
    for line in lines(text) {
        if decoded.elements.len() == ELEMENTS_MAX {
            return Err(DecodeError::malformed(&format!(
                "more than {ELEMENTS_MAX} readings in one uplink"
            )));
        }
        decoded.elements.push(match line {
            Ok(line) => reading(profile, &mut collector, &line),
            Err(error) => Element::Bad(error.to_string().into()),
        });
    }
    if decoded.elements.is_empty() {
        return Err(DecodeError::malformed("no line in the payload"));
    }
    Ok(decoded)
}

fn reading(profile: &Profile, collector: &mut Collector<'_>, line: &Line<'_>) -> Element {
    if line.measurement != profile.measurement {
        let detail = format!(
            "measurement `{}` is not the profile's",
            crate::problem::excerpt(&line.measurement)
        );
        return Element::Bad(detail.into());
    }
    collector.set_time(line.time.and_then(|number| profile.time.format.of_int(number)));
    for (name, value) in &line.tags {
        for target in profile.plan.column(name) {
            if matches!(target, Target::Device | Target::Tag(_)) {
                collector.set(target, Scalar::Text(value));
            }
        }
    }
    for (name, value) in &line.fields {
        for target in profile.plan.column(name) {
            collector.set(target, value.scalar());
        }
        if let (FieldValue::Int(nanos), "sampled_at_raw") = (value, &**name) {
            collector.set_time(Some(EventTime::from_nanos(*nanos)));
        }
    }
    for (name, value) in &line.fields {
        let of = name.strip_suffix("_flag").and_then(|name| profile.property(name));
        let (Some(index), FieldValue::Text(codes)) = (of, value) else { continue };
        if collector.has(index) {
            continue;
        }
        for code in codes.split(',') {
            match code {
                "missing" => collector.set(Target::Property(index), Scalar::Null),
                "type" => collector.set(Target::Property(index), Scalar::Other),
                _ => {}
            }
        }
    }
    collector.finish()
}

impl FieldValue<'_> {
    fn scalar(&self) -> Scalar<'_> {
        match self {
            Self::Float(number) => Scalar::Float(*number),
            Self::Int(number) => Scalar::Int(*number),
            #[expect(
                clippy::cast_precision_loss,
                reason = "beyond i64 a number counts as a double"
            )]
            Self::Unsigned(number) => {
                i64::try_from(*number).map_or(Scalar::Float(*number as f64), Scalar::Int)
            }
            Self::Bool(truth) => Scalar::Bool(*truth),
            Self::Text(text) => Scalar::Text(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::sample;

    #[test]
    fn lines_become_readings_and_a_bad_line_only_itself() {
        let profile = sample(
            "name = 'x'\ndomain = 'soil'\nmeasurement = 'soil'\ninterval = '1m'\ncodec = 'line_protocol'\ntags = ['depth']\n\
             [batch]\npath = ''\ndevice = 'device'\n\
             [[properties]]\nname = 'wet'\npath = 'm'\nunit = '1'\n[[properties]]\nname = 't'\npath = 't'\nunit = 'C'\n",
        );
        let text = "soil,device=d1,depth=10 m=0.5,t=14i 1763856000000000000\nsoil m=\nair m=1 5\nsoil t_flag=\"missing\",sampled_at_raw=7i,m=1 9\n";
        let decoded = super::super::decode(&profile, text.as_bytes()).unwrap();
        assert!(decoded.is_batch);
        let [Element::Reading(first), Element::Bad(_), Element::Bad(other), Element::Reading(last)] =
            &*decoded.elements
        else {
            panic!("{decoded:?}")
        };
        assert_eq!(first.device.as_deref(), Some("d1"));
        assert_eq!(first.tags.as_slice(), [(0, "10".into())]);
        assert_eq!(first.sampled_at, Some(EventTime::from_nanos(1_763_856_000_000_000_000)));
        assert_eq!(first.observations.len(), 2);
        assert_eq!(&**other, "measurement `air` is not the profile's");
        assert_eq!(last.sampled_at, Some(EventTime::from_nanos(7)));
        assert!(last.observations[1].flags.has(crate::flag::ValueFlags::MISSING));
    }
}
