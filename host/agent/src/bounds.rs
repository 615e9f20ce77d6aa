//! The bounds that are the same for every container and no settings.

use crate::{
    capabilities::{DRAW, HEAD, INSTANCES, MEMORIES, OWN_LOOKUPS, TABLE, TABLES},
    container::{GRACE, HANDED_OVER, STUCK},
    engine::{POOLED_MEMORIES, POOLED_TABLE, POOLED_TABLES, STACK},
};

/// As the README writes it: `20,000`.
fn thousands(number: usize) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

#[test]
fn the_readme_names_every_bound_that_is_no_setting() {
    let readme = include_str!("../../../README.md");
    let (_, table) = readme.split_once("| bound | of what |\n|---|---|\n").unwrap();
    let told = table.lines().map_while(|line| line.strip_prefix("| "));
    let (pooled, on_demand) = (thousands(POOLED_TABLE), thousands(TABLE));
    let bounds = [
        format!("{} MiB | what it hands to the host", HANDED_OVER >> 20),
        format!("{} MiB | random bytes", DRAW >> 20),
        format!("{} KiB | the stack of its code", STACK >> 10),
        format!(
            "{MEMORIES} memories, {TABLES} tables, {INSTANCES} core instances | with more it does \
             not start; in the world `container` a module has {POOLED_MEMORIES} memory and \
             {POOLED_TABLES} tables"
        ),
        format!(
            "{pooled} elements | one table in the world `container`, {on_demand} in `container-sync`"
        ),
        format!(
            "{} KiB, {OWN_LOOKUPS} | the head of an answer to an HTTP request, which fails with more; names",
            HEAD >> 10
        ),
        format!("{} ms | how long it may compute", GRACE.as_millis()),
        format!("{} s | after everybody who waited has given up", STUCK.as_secs()),
    ];
    assert_eq!(told.clone().count(), bounds.len());
    for (told, bound) in told.zip(bounds) {
        assert!(told.starts_with(&bound), "{bound:?} is not in {told:?}");
    }
}

#[test]
fn the_contract_names_those_of_a_containers_code() {
    let contract =
        include_str!("../../../wit/common.wit").lines().take_while(|line| !line.is_empty());
    let told: Vec<_> = contract.map(|line| line.trim_start_matches("/// ")).collect();
    let told = told.join(" ");
    for bound in [
        format!("more than {} MiB in one call", HANDED_OVER >> 20),
        format!("more than {} MiB of random bytes", DRAW >> 20),
        format!("more than {} KiB of stack", STACK >> 10),
        format!("{MEMORIES} memories, {TABLES} tables or {INSTANCES} core instances"),
        format!("a module of more than {POOLED_MEMORIES} memory or {POOLED_TABLES} tables"),
        format!(
            "{} elements, in the world `container-sync` to {}",
            thousands(POOLED_TABLE),
            thousands(TABLE)
        ),
    ] {
        assert!(told.contains(&bound), "{bound:?} is not in {told:?}");
    }
}
