use hulynet_sdk::prelude::*;

#[derive(Default)]
struct Counter {
    value: u64,
}

#[kind]
impl Counter {
    fn add(&mut self, n: u64) -> u64 {
        self.value += n;
        self.value
    }
}
