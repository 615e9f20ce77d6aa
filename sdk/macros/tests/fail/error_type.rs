#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter;

struct Mine;

#[kind]
impl Counter {
    fn add(&mut self, n: u64) -> Result<u64, Mine> {
        Err(Mine)
    }
}

fn main() {}
