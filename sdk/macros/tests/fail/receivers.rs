#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter;

#[kind]
impl Counter {
    fn new() -> Self {
        Self
    }

    fn consume(self) {}

    fn boxed(self: Box<Self>) {}

    fn kept(mut self: &mut Self) {}
}

fn main() {}
