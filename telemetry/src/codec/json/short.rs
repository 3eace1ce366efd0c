//! The short way of a payload: objects, arrays, texts without escapes, numbers without exponents.
//!
//! It gives what the long way gives, or nothing (`None`); then the long way reads the payload from its beginning, and
//! says what is wrong with it, if anything is. Names are looked for where the last payload of this shape had them: in
//! the order of the profile.

use super::{State, Walk};
use crate::codec::plan::{Node, Target};
use crate::codec::{ELEMENTS_MAX, Scalar};
use crate::profile::Profile;
use crate::reading::Decoded;

/// Deepest nesting that is read here; the long way reads deeper, and has the bound.
const DEPTH_MAX: u32 = 32;
/// Most digits of a number: they fit 64 bits.
const DIGITS_MAX: usize = 18;
/// Up to here a double holds every whole number.
const EXACT: u64 = 1 << 53;
/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

pub(super) fn decode(profile: &Profile, text: &str) -> Option<Decoded> {
    let mut state = State::new(profile);
    let mut scan = Scan { text, bytes: text.as_bytes(), at: 0 };
    let is_batch = profile.batch.is_some();
    if is_batch {
        scan.value(&mut state, profile.plan.node(0), DEPTH_MAX)?;
    } else {
        scan.object(&mut state, DEPTH_MAX)?;
        state.elements = vec![state.collector.finish()];
    }
    let is_whole = scan.next().is_none() && (state.has_array || !is_batch);
    is_whole.then_some(Decoded { elements: state.elements, is_batch })
}

/// A place in a text.
struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
}

impl<'t> Scan<'t> {
    /// Takes the next byte that is no white space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
        }
    }

    /// Reads a reading: an object.
    fn object(&mut self, state: &mut State<'_>, depth: u32) -> Option<()> {
        let node = state.plan.node(state.plan.reading);
        if self.next()? == b'{' { self.map(state, node, depth) } else { None }
    }

    fn value<'p>(
        &mut self,
        state: &mut State<'p>,
        node: Option<&'p Node>,
        depth: u32,
    ) -> Option<()> {
        let scalar = match self.next()? {
            first @ (b'-' | b'0'..=b'9') => self.number(first)?,
            b'"' => {
                let from = self.at;
                self.string()?;
                Scalar::Text(self.text.get(from..self.at - 1)?)
            }
            b'n' => self.word(b"ull", Scalar::Null)?,
            b't' => self.word(b"rue", Scalar::Bool(true))?,
            b'f' => self.word(b"alse", Scalar::Bool(false))?,
            b'{' => {
                Walk { state, node }.take(Scalar::Other);
                return self.map(state, node, depth.checked_sub(1)?);
            }
            b'[' => return self.array(state, node, depth.checked_sub(1)?),
            _ => return None,
        };
        Walk { state, node }.take(scalar);
        Some(())
    }

    /// Reads an object after its brace.
    fn map<'p>(&mut self, state: &mut State<'p>, node: Option<&'p Node>, depth: u32) -> Option<()> {
        let mut place = 0;
        let mut next = self.next()?;
        if next == b'}' {
            return Some(());
        }
        loop {
            if next != b'"' {
                return None;
            }
            let below = self.name(node, &mut place)?;
            if self.next()? != b':' {
                return None;
            }
            let below = below.and_then(|below| state.plan.node(below));
            self.value(state, below, depth)?;
            match self.next()? {
                b',' => next = self.next()?,
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Takes a name after its opening quote; returns the index of the node below it.
    #[inline]
    fn name(&mut self, node: Option<&Node>, place: &mut usize) -> Option<Option<usize>> {
        let Some(node) = node else { return self.string().map(|_| None) };
        if let Some((len, below)) = node.expected(self.bytes.get(self.at..)?, place) {
            self.at += len + 1;
            return Some(Some(below));
        }
        self.string().map(|name| node.key_of(name, place))
    }

    /// Reads an array after its bracket.
    fn array<'p>(
        &mut self,
        state: &mut State<'p>,
        node: Option<&'p Node>,
        depth: u32,
    ) -> Option<()> {
        let is_batch = node.is_some_and(|node| node.targets.contains(&Target::Batch));
        if is_batch {
            // The array's name came twice: the last one counts.
            state.elements.clear();
            state.has_array = true;
        } else {
            Walk { state, node }.take(Scalar::Other);
        }
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        for index in 0.. {
            if is_batch {
                self.object(state, depth)?;
                if state.elements.len() == ELEMENTS_MAX {
                    return None;
                }
                let element = state.collector.finish();
                state.elements.push(element);
            } else {
                let below = node.and_then(|node| node.item(index));
                let below = below.and_then(|below| state.plan.node(below));
                self.value(state, below, depth)?;
            }
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
        None
    }

    /// Returns the next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let byte = self.next()?;
        self.at -= 1;
        Some(byte)
    }

    /// Takes the rest of a word.
    fn word<'s>(&mut self, rest: &[u8], scalar: Scalar<'s>) -> Option<Scalar<'s>> {
        let is_it = self.bytes.get(self.at..)?.starts_with(rest);
        self.at += rest.len();
        is_it.then_some(scalar)
    }

    /// Takes a text and its closing quote, after the opening one. None where it has an escape.
    #[inline]
    fn string(&mut self) -> Option<&'t [u8]> {
        let from = self.at;
        loop {
            if let Some(eight) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
                let ends = ends_text(u64::from_le_bytes(*eight));
                if ends == 0 {
                    self.at += 8;
                    continue;
                }
                self.at += (ends.trailing_zeros() / 8) as usize;
            }
            match self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' | 0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        let text = self.bytes.get(from..self.at);
        self.at += 1;
        text
    }

    /// Reads a number by its first byte.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "below 2^53: exact")]
    fn number(&mut self, first: u8) -> Option<Scalar<'static>> {
        let is_negative = first == b'-';
        self.at -= usize::from(!is_negative);
        let (mut size, from) = (0, self.at);
        self.digits(&mut size);
        let whole = self.at - from;
        if whole == 0 || whole > DIGITS_MAX || (whole > 1 && self.bytes.get(from) == Some(&b'0')) {
            return None;
        }
        let mut decimals = 0;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            let from = self.at;
            self.digits(&mut size);
            decimals = self.at - from;
            if decimals == 0 || whole + decimals > DIGITS_MAX {
                return None;
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            return None;
        }
        if decimals > 0 {
            // Both are exact, so that the quotient is the double nearest to the text.
            let number = (size <= EXACT).then_some(size as f64)? / POWERS.get(decimals)?;
            return Some(Scalar::Float(if is_negative { -number } else { number }));
        }
        let number = i64::try_from(size).ok()?;
        match is_negative {
            false => Some(Scalar::Int(number)),
            // A double to the long way, since it keeps the sign.
            true => (number != 0).then_some(Scalar::Int(-number)),
        }
    }

    /// Takes digits. Too many of them make a wrong number, and are counted by the caller.
    #[inline]
    fn digits(&mut self, number: &mut u64) {
        let (mut size, mut count) = (*number, 0);
        for byte in self.bytes.get(self.at..).unwrap_or_default() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            size = size.wrapping_mul(10).wrapping_add(u64::from(digit));
            count += 1;
        }
        *number = size;
        self.at += count;
    }
}

/// Marks in a word of text what ends a plain text: a quote, a backslash, a control character. The lowest mark is right;
/// a borrow may set more above it.
const fn ends_text(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5c);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash | control) & HIGH
}

#[cfg(test)]
mod tests;
