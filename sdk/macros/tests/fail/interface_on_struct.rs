#![allow(unused)]

use hulynet_sdk::prelude::*;

#[interface]
struct Counter {
    value: u64,
}

fn main() {}
