#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter;

#[kind]
impl Counter {
    fn add(&mut self, n: u64) {}

    fn add(&mut self, n: i64) {}

    #[start]
    fn one() -> Self {
        Self
    }

    #[start]
    fn two() -> Self {
        Self
    }

    #[ping]
    #[terminate]
    fn both(&self) {}
}

fn main() {}
