//! Escapes of line protocol.
//!
//! Line protocol cannot express everything. A control character (a line break above all) becomes a
//! space, and a backslash at the very end of a name or tag, which would escape what follows, a slash.

/// Appends a measurement: `,` and space are escaped.
pub fn write_measurement(out: &mut Vec<u8>, text: &str) {
    write(out, text, |byte| matches!(byte, b',' | b' '));
}

/// Appends a tag name, tag value or field name: `,`, `=` and space are escaped.
pub fn write_key(out: &mut Vec<u8>, text: &str) {
    write(out, text, |byte| matches!(byte, b',' | b'=' | b' '));
}

/// Appends a string field with its quotes: `"` and `\` are escaped.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 | 0x7f => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Bytes that are written as they are, wherever they stand: letters, digits, `_`, `-`, `.`.
#[expect(clippy::indexing_slicing, reason = "a table of all bytes has a place for each")]
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte: u8 = 0;
    while byte < 0x80 {
        plain[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        byte += 1;
    }
    plain
};

fn write(out: &mut Vec<u8>, text: &str, is_special: impl Fn(u8) -> bool) {
    let bytes = text.as_bytes();
    if bytes.iter().all(|byte| PLAIN.get(usize::from(*byte)).is_some_and(|plain| *plain)) {
        out.extend_from_slice(bytes);
        return;
    }
    for byte in bytes {
        let byte = if byte.is_ascii_control() { b' ' } else { *byte };
        if is_special(byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    if let Some(last) = out.last_mut().filter(|last| **last == b'\\') {
        *last = b'/';
    }
}
