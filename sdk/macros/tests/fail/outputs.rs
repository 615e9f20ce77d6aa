#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter;

struct Opaque;

#[kind]
impl Counter {
    fn lent(&self) -> &str {
        ""
    }

    fn some(&self) -> impl Iterator<Item = u64> {
        0..1
    }

    fn fallible(&self) -> Result<&str, Error> {
        Ok("")
    }
}

struct Other;

#[kind]
impl Other {
    #[start]
    fn open() -> Self {
        Self
    }

    fn opaque(&self) -> Opaque {
        Opaque
    }
}

fn main() {}
