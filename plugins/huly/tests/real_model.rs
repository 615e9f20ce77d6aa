//! Huly's own model must make a hierarchy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use huly_model::{Change, Hierarchy, Kind, Tx, apply};
use hulynet_samples::sample;
use serde_json::Value;

/// The class-defining documents of the real model; `None` if it is not here.
fn model() -> Option<Vec<Value>> {
    let packed = std::fs::File::open(sample("huly-model.json.zst")?).unwrap();
    let transactions: Vec<Value> =
        serde_json::from_reader(zstd::Decoder::new(packed).unwrap()).unwrap();
    let mut documents = BTreeMap::new();
    for transaction in transactions {
        let tx = Tx::parse(transaction).unwrap();
        match apply(documents.remove(&tx.object_id), &tx).unwrap() {
            Change::Put(document) => documents.insert(tx.object_id, document),
            other => panic!("the model removes nothing, not {other:?}"),
        };
    }
    Some(documents.into_values().collect())
}

#[test]
fn the_real_model_makes_a_hierarchy() {
    let Some(documents) = model() else { return };
    let hierarchy = Hierarchy::new(&documents);
    let of = |class: &str| {
        documents.iter().filter(|document| document["_class"] == class).collect::<Vec<_>>()
    };
    let (classes, mixins) = (of("core:class:Class"), of("core:class:Mixin"));
    assert_eq!((documents.len(), classes.len(), mixins.len()), (2_895, 365, 111));

    let declared: BTreeSet<_> =
        classes.iter().filter_map(|class| class["domain"].as_str()).collect();
    let found: BTreeSet<_> = classes
        .iter()
        .filter_map(|class| hierarchy.domain(class["_id"].as_str().unwrap()))
        .collect();
    assert_eq!(found, declared);
    assert!(found.len() > 60, "{found:?}");

    assert!(hierarchy.is_derived("tracker:class:Issue", "core:class:AttachedDoc"));
    assert_eq!(hierarchy.domain("tracker:class:Issue"), Some("task"));
    assert_eq!(hierarchy.domain("chunter:class:ChatMessage"), Some("activity"));
    assert_eq!(hierarchy.domain("tracker:class:Project"), Some("space"));
    assert_eq!(hierarchy.domain("contact:class:Person"), Some("contact"));
    assert_eq!(hierarchy.kind("contact:mixin:Employee"), Kind::Mixin);
    assert_eq!(hierarchy.base("contact:mixin:Employee"), Some("contact:class:Person"));
    assert!(hierarchy.descendants("task:class:Task").contains(&"tracker:class:Issue".to_owned()));
}

#[test]
fn the_built_in_base_agrees_with_the_real_model() {
    let Some(documents) = model() else { return };
    let (real, base) = (Hierarchy::new(&documents), Hierarchy::new([]));
    for class in base.descendants("core:class:Obj") {
        assert_eq!(real.domain(&class), base.domain(&class), "{class}");
        for other in base.descendants("core:class:Obj") {
            assert_eq!(
                real.is_derived(&class, &other),
                base.is_derived(&class, &other),
                "{class} and {other}"
            );
        }
    }
}
