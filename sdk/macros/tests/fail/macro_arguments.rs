#![allow(unused)]

use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter;

#[kind(name = "counter")]
impl Counter {}

#[interface("counter")]
trait Adds {}

fn main() {}
