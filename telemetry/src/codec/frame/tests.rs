use proptest::prelude::*;

use super::*;
use crate::profile::sample;
use crate::reading::Element;

const HEAD: &str = "name = 'p'\ndomain = 'soil'\nmeasurement = 'soil'\ninterval = '15m'\ncodec = 'frame'\ntags = ['depth']\n";
const WET: &str = "[[properties]]\nname = 'wet'\npath = 'wet'\nunit = 'm3/m3'\nrange = [0.0, 0.6]\nconvert = { from = '%' }\n";
const COUNT: &str = "[[properties]]\nname = 'count'\npath = 'count'\ntype = 'int'\nunit = '1'\n";
const ON: &str = "[[properties]]\nname = 'on'\npath = 'on'\ntype = 'bool'\nunit = '1'\n";
const NOTE: &str = "[[properties]]\nname = 'note'\npath = 'note'\ntype = 'string'\nunit = '1'\n";
const BATCH: &str = "[batch]\npath = ''\ndevice = 'device'\n";

fn profile(parts: &[&str]) -> Profile {
    sample(&format!("{HEAD}{}", parts.concat()))
}

fn one(property: u16, value: Option<Value>, flags: ValueFlags) -> Observation {
    Observation { property, value, flags }
}

fn reading() -> Reading {
    Reading {
        device: None,
        sampled_at: Some(EventTime::from_nanos(1_763_856_000_000_000_000)),
        sequence: Some(7),
        observations: vec![
            one(0, Some(Value::Float(0.231)), ValueFlags::GOOD),
            one(1, None, ValueFlags::MISSING),
        ]
        .into(),
        tags: [(0, "10".into())].into(),
    }
}

fn sealed(body: &[u8]) -> Vec<u8> {
    [b"TL\x01", &checksum(1, body).to_le_bytes()[..], body].concat()
}

#[test]
fn a_frame_is_less_than_half_of_json() {
    let names = ["soil_moisture_10cm", "soil_moisture_20cm", "soil_temp", "soil_ec", "battery_v"];
    let each = |name| format!("[[properties]]\nname = '{name}'\npath = '{name}'\nunit = '1'\n");
    let profile = sample(&format!("{HEAD}{}", names.map(each).concat()));
    let json = r#"{"ts":1763856000000,"seq":7,"soil_moisture_10cm":0.231,"soil_moisture_20cm":0.254,"soil_temp":14.2,"soil_ec":0.83,"battery_v":3.61}"#;
    let values = [0.231, 0.254, 14.2, 0.83, 3.61];
    let observations = (0..)
        .zip(values)
        .map(|(index, value)| one(index, Some(Value::Float(value)), ValueFlags::GOOD));
    let reading =
        Reading { observations: observations.collect(), tags: SmallTags::default(), ..reading() };
    let frame = encode(&profile, &[reading]).unwrap();
    assert!(frame.len() * 2 < json.len(), "{} of {} bytes", frame.len(), json.len());
}

#[test]
fn a_profile_that_gains_properties_at_its_end_still_reads_old_frames() {
    let frame = encode(&profile(&[WET, COUNT]), &[reading()]).unwrap();
    let decoded = decode(&profile(&[WET, COUNT, ON]), &frame).unwrap();
    assert_eq!(decoded.elements, [Element::Reading(reading())]);
    assert!(!decoded.is_batch);
    for other in [profile(&[COUNT, WET]), profile(&[WET]), profile(&[WET, ON])] {
        let DecodeError::Malformed(detail) = decode(&other, &frame).unwrap_err();
        assert_eq!(&*detail, "the frame was written for other properties than the profile's");
    }
}

#[test]
fn a_frame_with_names_survives_another_order_and_ignores_what_is_unknown() {
    let frame = encode_named(&profile(&[WET, COUNT]), &[reading()]).unwrap();
    let [Element::Reading(found)] = &*decode(&profile(&[ON, COUNT, WET]), &frame).unwrap().elements
    else {
        panic!()
    };
    let order: Vec<u16> = found.observations.iter().map(|one| one.property).collect();
    assert_eq!(order, [1, 2]);
    let [Element::Reading(found)] = &*decode(&profile(&[ON]), &frame).unwrap().elements else {
        panic!()
    };
    assert!(found.observations.is_empty());
}

#[test]
fn only_a_profile_that_says_so_lets_a_frame_name_another_device() {
    let named = Reading { device: Some("other".into()), ..reading() };
    let frame = encode(&profile(&[WET, COUNT]), std::slice::from_ref(&named)).unwrap();
    assert_eq!(
        decode(&profile(&[WET, COUNT]), &frame).unwrap().elements,
        [Element::Reading(reading())]
    );
    let decoded = decode(&profile(&[BATCH, WET, COUNT]), &frame).unwrap();
    assert_eq!((decoded.elements, decoded.is_batch), (vec![Element::Reading(named)], true));
}

#[test]
fn what_is_not_a_whole_known_frame_is_refused() {
    let profile = profile(&[WET, COUNT]);
    let frame = encode(&profile, &[reading()]).unwrap();
    let refuse = |payload: &[u8], why: &str| {
        let DecodeError::Malformed(detail) = super::super::decode(&profile, payload).unwrap_err();
        assert!(detail.contains(why), "{detail}");
    };
    refuse(b"", "empty");
    refuse(b"TL\x01", "shorter");
    refuse(b"{\"wet\":1}", "magic");
    let mut later = frame.clone();
    later[2] = 2;
    refuse(&later, "version 2");
    for at in 3..frame.len() {
        let mut changed = frame.clone();
        changed[at] ^= 1;
        refuse(&changed, "checksum");
    }
    for end in 7..frame.len() {
        refuse(&frame[..end], "checksum");
        refuse(&sealed(&frame[7..end]), "not the body");
    }
    refuse(&sealed(&[&frame[7..], b"x"].concat()), "1 bytes after");
    refuse(&sealed(&vec![0; BODY_BYTES_MAX + 1]), "larger");
}

#[test]
fn a_length_from_nowhere_takes_no_memory() {
    let profile = profile(&[WET]);
    // Schema by names, and as many of them as nine bytes can say.
    let body = [&[1, 0xfd][..], &[0xff; 8]].concat();
    let DecodeError::Malformed(detail) = decode(&profile, &sealed(&body)).unwrap_err();
    assert!(detail.contains("not the body"), "{detail}");
}

#[test]
fn too_many_readings_are_refused_by_the_sender() {
    let profile = profile(&[WET, COUNT]);
    assert!(encode(&profile, &vec![reading(); 200]).is_ok());
    let error = encode(&profile, &vec![reading(); 5000]).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { readings: 5000 });
}

#[test]
fn decimals_are_exact_or_not_used() {
    for (number, expected) in [
        (0.0, Some((0, 0))),
        (23.1, Some((231, 1))),
        (-14.25, Some((-1425, 2))),
        (0.1 + 0.2, None),
        (1e300, None),
        (-0.0, None),
        (3e9, None),
    ] {
        let expected = expected.map(|(mantissa, decimals)| ValueV1::Decimal { mantissa, decimals });
        assert_eq!(decimal(number), expected, "{number}");
    }
    assert_eq!(of_decimal(1, DECIMALS_MAX + 1), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn readings_come_through_a_frame_unchanged(
        floats in prop::collection::vec(prop::option::of(-0.0..0.6f64), 1..20),
        int in prop::option::of(any::<i64>()),
        truth in any::<bool>(),
        text in ".{0,40}",
        sampled_at in prop::option::of(any::<i64>()),
        sequence in prop::option::of(any::<i64>()),
        device in prop::option::of("[a-z北]{1,9}"),
        is_named in any::<bool>(),
    ) {
        let profile = profile(&[BATCH, WET, COUNT, ON, NOTE]);
        let none = |flags| (None, flags);
        let of = |value: Option<Value>, flags| value.map_or_else(|| none(flags), |value| (Some(value), ValueFlags::GOOD));
        let readings: Vec<Reading> = floats.iter().map(|float| {
            let float = float.map(|number| Value::Float(crate::unit::round_12(number + 0.0)));
            let values = [
                of(float, ValueFlags::TYPE),
                of(int.map(Value::Int), ValueFlags::MISSING),
                of(Some(Value::Bool(truth)), ValueFlags::GOOD),
                of(Some(Value::Text(text.clone().into())), ValueFlags::GOOD),
            ];
            let observations = (0..).zip(values).map(|(index, (value, flags))| one(index, value, flags)).collect();
            let sampled_at = sampled_at.map(EventTime::from_nanos);
            let device = device.clone().map(Into::into);
            Reading { device, sampled_at, sequence, observations, tags: SmallTags::default() }
        }).collect();
        let frame = if is_named { encode_named(&profile, &readings) } else { encode(&profile, &readings) }.unwrap();
        let expected: Vec<Element> = readings.into_iter().map(Element::Reading).collect();
        prop_assert_eq!(decode(&profile, &frame).unwrap().elements, expected);
    }

    #[test]
    fn no_body_makes_the_decoder_panic(body in prop::collection::vec(any::<u8>(), 0..80), raw in prop::collection::vec(any::<u8>(), 0..40)) {
        let profile = profile(&[BATCH, WET, COUNT]);
        let _decoded = (decode(&profile, &sealed(&body)), decode(&profile, &raw));
    }
}

type SmallTags = smallvec::SmallVec<[(u16, Box<str>); 1]>;
