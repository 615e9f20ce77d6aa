#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter<T>(T);

#[kind]
impl<T> Counter<T> {
    fn add(&mut self, n: u64) {}
}

fn main() {}
