#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter;

#[kind]
impl Counter {
    fn add<T>(&mut self, n: T) {}

    const fn one(&self) -> u64 {
        1
    }

    unsafe fn two(&self) {}

    extern "C" fn three(&self) {}
}

fn main() {}
