//! Every update whose result Huly's own code gave must give the same here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use huly_model::Update;
use hulynet_samples::sample;
use serde_json::Value;

#[test]
fn all_recorded_updates_agree() {
    let Some(file) = sample("oracle-updates.jsonl") else { return };
    let lines = std::fs::read_to_string(&file).unwrap();
    let mut compared = 0;
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let part = |name: &str| case.get(name).unwrap().clone();
        let Value::Object(before) = part("before") else { panic!("`before` is an object: {line}") };
        let after = Update::parse(&part("operations")).unwrap().apply(before).unwrap();
        assert_eq!(Value::Object(after), part("after"), "{line}");
        compared += 1;
    }
    assert!(compared >= 36, "only {compared} updates in {}", file.display());
}
