//! Many seeds, each a network's life.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    io::{self, Write},
    ops::Range,
    time::Instant,
};

use simulation::{Settings, mutants, run_seed};

/// Tells how long something took, past the capture of what tests print: the
/// seeds are to take at most three minutes.
fn tell(what: &str, began: Instant) {
    let line = format!("\nsimulation: {what} in {:.1} s\n", began.elapsed().as_secs_f64());
    // Without a stderr there is nobody to tell, which is no reason to fail.
    let _ = io::stderr().write_all(line.as_bytes());
}

fn all_is_well(seeds: Range<u64>) {
    let (began, what) = (Instant::now(), format!("the seeds {seeds:?}"));
    let failed: Vec<_> = seeds
        .filter_map(|seed| Some((seed, run_seed(&Settings::new(seed), false).failure?)))
        .collect();
    tell(&what, began);
    assert_eq!(failed, [], "run `cargo xtask simulate --seed N` to see the shortest history");
}

#[test]
fn networks_of_the_first_250_seeds_keep_every_rule() {
    all_is_well(0..250);
}

#[test]
fn networks_of_the_next_250_seeds_keep_every_rule() {
    all_is_well(250..500);
}

#[test]
fn the_same_seed_gives_the_same_history_byte_for_byte() {
    let settings = Settings::new(7);
    let (first, second) = (run_seed(&settings, true), run_seed(&settings, true));
    assert!(!first.history.is_empty());
    assert_eq!(first, second);
    assert_ne!(first.digest, run_seed(&Settings::new(8), false).digest);
}

#[test]
fn every_deliberate_defect_is_found() {
    let began = Instant::now();
    let missed: Vec<_> = mutants::ALL
        .iter()
        .map(|mutant| mutants::hunt(*mutant, 200))
        .filter(|found| found.seed.is_none())
        .map(|found| found.mutant)
        .collect();
    tell(&format!("{} deliberate defects", mutants::ALL.len()), began);
    assert_eq!(missed, []);
}
