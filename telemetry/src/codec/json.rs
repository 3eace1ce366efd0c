//! JSON by profile, streamed into the slots of a reading: no tree of the payload is built.
//!
//! Nesting deeper than 128, also in parts that nobody asked for, and text that is not UTF-8 are malformed.

mod short;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, Error, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

use super::plan::{Node, Plan, Target};
use super::{Collector, DecodeError, ELEMENTS_MAX, Scalar, text_of};
use crate::profile::Profile;
use crate::reading::{Decoded, Element};

pub(super) fn decode(profile: &Profile, payload: &[u8]) -> Result<Decoded, DecodeError> {
    let text = text_of(payload)?;
    if let Some(decoded) = short::decode(profile, text) {
        return Ok(decoded);
    }
    let found = decode_text(profile, text);
    if let Err(error) = &found
        && let Some(tamed) = tame_numbers(text)
    {
        return decode_text(profile, &tamed)
            .map_err(|_| DecodeError::malformed(&error.to_string()));
    }
    found.map_err(|error| DecodeError::malformed(&error.to_string()))
}

fn decode_text(profile: &Profile, text: &str) -> Result<Decoded, serde_json::Error> {
    let mut state = State::new(profile);
    let mut json = serde_json::Deserializer::from_str(text);
    let Some(batch) = &profile.batch else {
        json.deserialize_any(Root(&mut state))?;
        json.end()?;
        let elements = vec![state.collector.finish()];
        return Ok(Decoded { elements, is_batch: false });
    };
    let root = profile.plan.node(0);
    Walk { state: &mut state, node: root }.deserialize(&mut json)?;
    json.end()?;
    if !state.has_array {
        return Err(serde_json::Error::custom(format_args!("no array at `{}`", batch.path)));
    }
    Ok(Decoded { elements: state.elements, is_batch: true })
}

struct State<'p> {
    plan: &'p Plan,
    collector: Collector<'p>,
    elements: Vec<Element>,
    has_array: bool,
}

impl<'p> State<'p> {
    fn new(profile: &'p Profile) -> Self {
        let collector = Collector::new(profile);
        Self { plan: &profile.plan, collector, elements: Vec::new(), has_array: false }
    }
}

/// The payload of a single reading: an object.
struct Root<'a, 'p>(&'a mut State<'p>);

impl<'de> Visitor<'de> for Root<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let node = self.0.plan.node(self.0.plan.reading);
        walk_map(self.0, node, map)
    }
}

/// A value somewhere in the payload; without a node nobody wants it or anything below it.
struct Walk<'a, 'p> {
    state: &'a mut State<'p>,
    node: Option<&'p Node>,
}

impl Walk<'_, '_> {
    fn take(self, scalar: Scalar<'_>) {
        for target in self.node.iter().flat_map(|node| &node.targets) {
            self.state.collector.set(*target, scalar);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.take(Scalar::Null);
        Ok(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        self.take(Scalar::Bool(truth));
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.take(Scalar::Int(number));
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        #[expect(clippy::cast_precision_loss, reason = "beyond i64 a number counts as a double")]
        self.take(i64::try_from(number).map_or(Scalar::Float(number as f64), Scalar::Int));
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.take(Scalar::Float(number));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.take(Scalar::Text(text));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self { state, node } = self;
        Walk { state, node }.take(Scalar::Other);
        walk_map(state, node, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let Self { state, node } = self;
        if node.is_some_and(|node| node.targets.contains(&Target::Batch)) {
            return walk_batch(state, array);
        }
        Walk { state, node }.take(Scalar::Other);
        let mut index = 0;
        loop {
            let below =
                node.and_then(|node| node.item(index)).and_then(|below| state.plan.node(below));
            if array.next_element_seed(Walk { state, node: below })?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }
}

fn walk_map<'de, 'p, A: MapAccess<'de>>(
    state: &mut State<'p>,
    node: Option<&'p Node>,
    mut map: A,
) -> Result<(), A::Error> {
    while let Some(below) = map.next_key_seed(Key(node))? {
        let node = below.and_then(|below| state.plan.node(below));
        map.next_value_seed(Walk { state, node })?;
    }
    Ok(())
}

fn walk_batch<'de, A: SeqAccess<'de>>(state: &mut State<'_>, mut array: A) -> Result<(), A::Error> {
    // The array's name came twice: the last one counts.
    state.elements.clear();
    state.has_array = true;
    while array.next_element_seed(One(state))?.is_some() {
        if state.elements.len() > ELEMENTS_MAX {
            return Err(A::Error::custom(format_args!(
                "more than {ELEMENTS_MAX} readings in one uplink"
            )));
        }
    }
    Ok(())
}

/// A name of an object, looked up without a copy.
struct Key<'p>(Option<&'p Node>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.and_then(|node| node.key(name)))
    }
}

/// One element of a batch.
struct One<'a, 'p>(&'a mut State<'p>);

impl One<'_, '_> {
    fn bad(self) {
        self.0.elements.push(Element::Bad("the element is not an object".into()));
    }
}

impl<'de> DeserializeSeed<'de> for One<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let node = self.0.plan.node(self.0.plan.reading);
        walk_map(self.0, node, map)?;
        let element = self.0.collector.finish();
        self.0.elements.push(element);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while array.next_element_seed(Walk { state: self.0, node: None })?.is_some() {}
        self.bad();
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.bad();
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.bad();
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.bad();
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.bad();
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.bad();
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.bad();
        Ok(())
    }
}

/// Replaces numbers beyond a double (`1e999`), which the JSON library refuses together with the whole
/// payload, by an object: a value of a wrong type. `None` where there is no such number.
fn tame_numbers(text: &str) -> Option<String> {
    let mut spans: SmallVec<[(usize, usize); 4]> = SmallVec::new();
    let (mut start, mut in_text, mut is_escaped) = (None, false, false);
    for (at, byte) in text.bytes().chain([b' ']).enumerate() {
        if in_text {
            in_text = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        let is_number = byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        match start {
            None if byte.is_ascii_digit() || byte == b'-' => start = Some(at),
            Some(from) if !is_number => {
                start = None;
                if is_beyond(text.get(from..at)?) {
                    spans.push((from, at));
                }
            }
            Some(_) | None => {}
        }
        in_text = byte == b'"';
    }
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for (from, to) in &spans {
        out.push_str(text.get(done..*from)?);
        out.push_str("{}");
        done = *to;
    }
    out.push_str(text.get(done..)?);
    (!spans.is_empty()).then_some(out)
}

fn is_beyond(number: &str) -> bool {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(number).is_ok();
    is_json && number.parse::<f64>().is_ok_and(f64::is_infinite)
}

#[cfg(test)]
mod tests;
