//! Many seeds, each a network's life.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use simulation::{Settings, mutants, run_seed};

fn all_is_well(seeds: std::ops::Range<u64>) {
    let failed: Vec<_> = seeds
        .filter_map(|seed| Some((seed, run_seed(&Settings::new(seed), false).failure?)))
        .collect();
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
    let missed: Vec<_> = mutants::ALL
        .iter()
        .map(|mutant| mutants::hunt(*mutant, 200))
        .filter(|found| found.seed.is_none())
        .map(|found| found.mutant)
        .collect();
    assert_eq!(missed, []);
}
