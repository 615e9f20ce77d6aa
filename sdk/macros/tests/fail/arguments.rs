#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter;

#[kind]
impl Counter {
    fn pattern(&self, (a, b): (u64, u64)) -> u64 {
        a + b
    }

    fn borrowed(&self, text: &str) -> usize {
        text.len()
    }

    fn slice(&self, numbers: &[u64]) -> usize {
        numbers.len()
    }

    fn some(&self, text: impl Into<String>) -> String {
        text.into()
    }

    fn payload(&self, payload: Raw, n: u64) -> Raw {
        payload
    }

    fn taken(&self, context: Context) {}
}

fn main() {}
