#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter;

#[kind]
impl Counter {
    #[start]
    fn open(&self) -> Self {
        Self
    }

    #[connect]
    fn hello() {}

    #[disconnect]
    fn goodbye(&self) {}

    #[ping]
    fn well(&self, how: String) {}

    #[terminate]
    fn end(self, force: bool) {}
}

fn main() {}
