//! Replays the corpus of every fuzz target, and some thousand mutations of it, on stable.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

#[cfg(feature = "configuration")]
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hostile::{TARGETS, Target};

/// Mutations of each input.
const MUTATIONS: u64 = 512;
/// What one input may take, on a busy machine and without optimisation.
const PATIENCE: Duration = Duration::from_secs(5);

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

#[cfg(feature = "configuration")]
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Runs a target on one input, and says which where it fails.
fn replay(name: &str, target: Target, of: &str, input: &[u8]) {
    let begun = Instant::now();
    if let Err(panic) = catch_unwind(|| target(input)) {
        eprintln!("target {name} failed on {of}: {}", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
    assert!(begun.elapsed() < PATIENCE, "{name} took {:?} for {of}", begun.elapsed());
}

/// Guarantees: no input of the corpus, and no mutation of one, panics or breaks its target's property.
#[test]
fn no_input_of_the_corpus_breaks_its_target() {
    for (name, target) in TARGETS.iter().copied() {
        let folder = fuzz().join("corpus").join(name);
        let mut count = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            replay(name, target, &file, &input);
            let mut dice = Dice(input.len() as u64 ^ 0x7469_616e);
            for number in 0..MUTATIONS {
                let of = format!("mutation {number} of {file}");
                replay(name, target, &of, &mutated(&input, &mut dice));
            }
            count += 1;
        }
        assert!(count >= 3, "the corpus of {name} has {count} inputs");
    }
}

/// Guarantees: each target has a corpus, a file and an entry of its own for the fuzzer, and none is forgotten.
#[cfg(feature = "configuration")]
#[test]
fn every_target_is_wired() {
    let all: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("corpus"), all);
    let files: BTreeSet<_> = all.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names("fuzz_targets"), files);
    let manifest: toml::Table =
        fs::read_to_string(fuzz().join("Cargo.toml")).unwrap().parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap();
    let bins: BTreeSet<_> =
        bins.iter().map(|bin| bin["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bins, all);
    for name in &all {
        let text = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("hostile::{name}(")), "{name}");
    }
}

/// A small generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(n.max(1)).unwrap()).unwrap()
    }
}

/// Flips, cuts, repeats and replaces a little of an input.
fn mutated(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        match dice.below(5) {
            _ if bytes.is_empty() => bytes.push(0),
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.truncate(at),
            2 => bytes[at] = [0, b'"', b'\n', b'/', b'-', b'9', 0x7f, 0xff][dice.below(8)],
            3 => {
                let part = bytes[at..(at + 1 + dice.below(8)).min(bytes.len())].to_vec();
                drop(bytes.splice(at..at, part));
            }
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}
