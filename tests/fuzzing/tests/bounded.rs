//! A bounded run of every fuzz target, the same in each run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::{fs, path::Path};

use hulynet_fuzzing::{FRAME, MESSAGE, TARGETS};
use hulynet_protocol::Frame;

/// Mutations of each file of a corpus.
const MUTATIONS: usize = 400;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(root).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() % limit.max(1)
    }
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), random.next() as u8),
            2 => bytes.extend_from_slice(&other[random.below(other.len())..]),
            // Lengths and numbers at their ends.
            3 => bytes.splice(at.min(bytes.len()).., [0xff; 9]).for_each(drop),
            4 if !bytes.is_empty() => drop(bytes.remove(at)),
            _ if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}

#[test]
fn no_target_fails_on_its_corpus_and_mutations_of_it() {
    for target in TARGETS {
        let corpus = corpus(target.name);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        let mut random = Random(1);
        for file in &corpus {
            (target.check)(file);
            for _ in 0..MUTATIONS {
                let mut bytes = file.clone();
                mutate(&mut bytes, &corpus[random.below(corpus.len())], &mut random);
                (target.check)(&bytes);
            }
        }
    }
}

#[test]
fn the_native_corpus_has_every_frame() {
    let mut variants: Vec<u8> =
        corpus("native").iter().filter(|file| Frame::decode(file).is_ok()).map(|f| f[1]).collect();
    variants.sort_unstable();
    variants.dedup();
    assert_eq!(variants, (0..15).collect::<Vec<u8>>());
}

#[test]
fn the_originals_corpus_has_every_operation() {
    let corpus = corpus("original");
    let messages = corpus.iter().flat_map(|file| file.split(|byte| *byte == MESSAGE));
    let mut operations: Vec<&[u8]> = messages
        .map(|message| message.split(|byte| *byte == FRAME).next().unwrap())
        .filter(|operation| matches!(operation, [b'0'..=b'9']))
        .collect();
    operations.sort_unstable();
    operations.dedup();
    assert_eq!(operations.len(), 10);
}

#[test]
fn every_target_has_its_file() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    for target in TARGETS {
        let file = targets.join(target.name).with_extension("rs");
        assert!(file.is_file(), "{} is missing", file.display());
    }
}
