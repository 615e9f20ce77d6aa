#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hulynet_fuzzing::original(bytes));
