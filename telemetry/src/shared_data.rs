//! Real data and reference suites that stand beside the project, for tests only.

use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Returns the bytes of a shared file, unpacked where it is gzip.
///
/// `None`, with a notice, where the folder is absent; in continuous integration that is a failure.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    let Some(folder) = folder() else {
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!is_ci, "the shared data are absent: set TIANLU_SHARED");
        eprintln!("skipped: no folder `shared/data`; set TIANLU_SHARED to run this test");
        return None;
    };
    let bytes = std::fs::read(folder.join(name)).unwrap();
    if !name.ends_with(".gz") {
        return Some(bytes);
    }
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut unpacked).unwrap();
    Some(unpacked)
}

/// Returns the bytes of a base64 text.
pub(crate) fn of_base64(text: &str) -> Vec<u8> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        held = held << 6
            | u32::try_from(letters.iter().position(|known| *known == byte).unwrap()).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).unwrap());
            held &= (1 << bits) - 1;
        }
    }
    out
}

fn folder() -> Option<PathBuf> {
    if let Some(set) = std::env::var_os("TIANLU_SHARED") {
        return Some(PathBuf::from(set).join("data"));
    }
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join("shared/data")).find(|folder| folder.is_dir())
}
