#![allow(unused)]

use hulynet_sdk::prelude::*;

#[interface]
trait Counter {
    const START: u64;

    fn add(&mut self, n: u64) -> u64 {
        n
    }

    fn make() -> Self;
}

#[interface]
trait Store<T> {
    fn put(&mut self, value: T);
}

fn main() {}
