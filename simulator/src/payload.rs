//! An uplink as JSON: one object, numbers with as many decimals as the sensor has.

use crate::maths::floor;

/// An object that is being written.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Payload<'a> {
    /// Begins with time and sequence number.
    pub(crate) fn begin(out: &'a mut Vec<u8>, ts_ms: i64, seq: i64) -> Self {
        out.extend_from_slice(b"{\"ts\":");
        integer(out, ts_ms);
        out.extend_from_slice(b",\"seq\":");
        integer(out, seq);
        Self { out }
    }

    /// Writes a number, rounded to so many decimals.
    pub(crate) fn number(&mut self, name: &str, value: f64, decimals: u32) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        let scale = 10_i64.pow(decimals);
        let scaled = floor(value * crate::maths::float(scale) + 0.5);
        if scaled < 0 {
            self.out.push(b'-');
        }
        integer(self.out, (scaled / scale).abs());
        if decimals > 0 {
            self.out.push(b'.');
            let mut rest = (scaled % scale).abs();
            let mut size = scale / 10;
            while size > 0 {
                self.out.push(digit(rest / size));
                rest %= size;
                size /= 10;
            }
        }
    }

    /// Ends the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

fn digit(of: i64) -> u8 {
    b'0' + u8::try_from(of).unwrap_or_default()
}

fn integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    let mut rest = value.unsigned_abs();
    let begin = out.len();
    loop {
        out.push(b'0' + u8::try_from(rest % 10).unwrap_or_default());
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Some(written) = out.get_mut(begin..) {
        written.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_signed() {
        let mut out = Vec::new();
        let mut payload = Payload::begin(&mut out, -12, 1_763_856_000_000);
        for (name, value, decimals) in [
            ("a", 0.2314, 3),
            ("b", -0.04, 1),
            ("c", -0.05, 1),
            ("d", 12.0, 0),
            ("e", -7.25, 2),
            ("f", 0.0996, 3),
        ] {
            payload.number(name, value, decimals);
        }
        payload.end();
        let text = String::from_utf8(out).unwrap();
        let wanted = r#"{"ts":-12,"seq":1763856000000,"a":0.231,"b":0.0,"c":0.0,"d":12,"e":-7.25,"f":0.100}"#;
        assert_eq!(text, wanted);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}
