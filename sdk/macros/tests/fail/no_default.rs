#![allow(unused)]

use hulynet_sdk::prelude::*;

struct Counter;

#[kind]
impl Counter {
    fn value(&self) -> u64 {
        0
    }
}

fn main() {}
