#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter;

struct Opaque;

#[kind]
impl Counter {
    fn opaque(&self, opaque: Opaque) {}
}

fn main() {}
