#![allow(unused)]

use hulynet_sdk::prelude::*;

#[kind]
#[derive(Default)]
struct Counter {
    value: u64,
}

fn main() {}
