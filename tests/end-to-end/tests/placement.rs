//! On which agent containers are started.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use end_to_end::{Network, eventually};
use serde_json::{Value, json};

/// The agent on which a container is started that nobody has asked for yet.
fn placed(network: &Network, uuid: &str, wishes: &[&str]) -> String {
    let name = format!("echo/{uuid}");
    let got = network.json(&[&["get", &name], wishes].concat());
    got["agent"].as_str().unwrap().to_owned()
}

fn numbers(network: &Network, count: usize) -> BTreeMap<String, usize> {
    let mut numbers = BTreeMap::new();
    for n in 0..count {
        *numbers.entry(placed(network, &format!("n{n}"), &[])).or_default() += 1;
    }
    numbers
}

/// What is told of the agent in this place.
fn agent(network: &Network, place: usize) -> Value {
    let agents = network.json(&["agents"]);
    let found = agents.as_array().unwrap().iter().find(|a| a["agent"] == network.agent(place));
    found.unwrap().clone()
}

/// A network of an agent in Europe and one in Asia with spot prices.
fn continents() -> (Network, String, String) {
    let mut network = Network::coordinated(&[]);
    network.add_agent_with("europe", &["echo"], &["--agent-labels", "region=europe"]);
    network.add_agent_with("asia", &["echo"], &["--agent-labels", "region=asia,spot=yes"]);
    let (europe, asia) = (network.agent(0).to_owned(), network.agent(1).to_owned());
    (network, europe, asia)
}

#[test]
fn containers_are_started_in_turn() {
    let network = Network::start(3, &["echo"]);
    assert_eq!(numbers(&network, 6).into_values().collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn the_less_loaded_agent_is_chosen_when_the_coordinator_is_told_to() {
    let mut network =
        Network::coordinated(&["--placement", "least-loaded", "--unused-timeout", "1m"]);
    let small = ["--containers", "8", "--agent-labels", "size=small"];
    network.add_agent_with("small", &["echo"], &small);
    network.add_agent_with("large", &["echo"], &["--containers", "80"]);
    for n in 0..4 {
        placed(&network, &format!("small{n}"), &["--near", "size=small"]);
    }
    eventually("the report of the small agent", || {
        (agent(&network, 0)["used"] == json!(0.5)).then_some(())
    });
    for n in 0..5 {
        assert_eq!(placed(&network, &format!("n{n}"), &[]), network.agent(1));
    }
    assert!(agent(&network, 1)["containers"] == json!(5), "more of them, and less loaded");
    let chosen = network.json(&["explain", "n4"]);
    assert_eq!(chosen["reason"], "the agent was the less loaded one of two");
}

#[test]
fn a_request_may_prefer_agents_by_their_labels_and_avoid_others() {
    let (network, europe, asia) = continents();
    for n in 0..3 {
        let (near, far) = (format!("near{n}"), format!("far{n}"));
        assert_eq!(placed(&network, &near, &["--near", "region=europe"]), europe);
        assert_eq!(placed(&network, &far, &["--avoid", "region=europe"]), asia);
    }
    let torn = ["--near", "region=asia", "--avoid", "spot=yes"];
    assert_eq!(placed(&network, "torn", &torn), europe, "avoiding weighs more");
    assert_eq!(placed(&network, "torn", &["--near", "region=asia"]), europe, "it runs already");
    let nowhere = placed(&network, "mars", &["--near", "region=mars"]);
    assert!([&europe, &asia].contains(&&nowhere), "a wish is no condition");
}

#[test]
fn a_container_finds_others_by_conditions_and_places_them_by_labels() {
    let (network, europe, asia) = continents();
    let find = |wanted: Value| {
        let arguments = json!(["echo", wanted]).to_string();
        network.run(&["call", "echo/asking", "find", &arguments, "--json"])
    };
    let near =
        |job, region| find(json!({ "labels": { "job": job }, "near": { "region": region } }));
    assert_eq!(near("a", "europe").json()["agent"], json!(europe));
    assert_eq!(near("b", "asia").json()["agent"], json!(asia));
    let avoiding = json!({ "labels": { "job": "c" }, "avoid": { "spot": "yes" } });
    assert_eq!(find(avoiding).json()["agent"], json!(europe));

    let found = find(json!({ "one_of": { "job": ["b", "x"] } })).json();
    assert_eq!((&found["labels"]["job"], &found["agent"]), (&json!("b"), &json!(asia)));
    let other = json!({ "present": ["job"], "none_of": { "job": ["a", "b"] }, "absent": ["gpu"] });
    assert_eq!(find(other).json()["labels"]["job"], "c");
    let started = find(json!({ "one_of": { "job": ["d"] } })).json();
    assert_eq!(started["labels"], json!({ "job": "d" }), "what the condition determines");

    let choice = find(json!({ "one_of": { "job": ["e", "f"] } }));
    assert!(choice.refusal(1).contains("job in (e,f)"), "{choice:?}");
    let stranger = find(json!({ "one_of": { "account": ["eve"] } }));
    assert!(stranger.refusal(1).contains("account=eve"), "{stranger:?}");
}

#[test]
fn a_full_agent_is_not_chosen_until_it_has_room_again() {
    let mut network = Network::coordinated(&["--unused-timeout", "1m"]);
    let small = network.add_agent_with("small", &["echo"], &["--containers", "1"]);
    assert_eq!(placed(&network, "first", &[]), network.agent(small));
    eventually("the report of the full agent", || {
        (agent(&network, small)["intake"] == "full").then_some(())
    });
    let full = network.run(&["get", "echo/second", "--timeout", "1s"]);
    assert!(full.refusal(3).contains("draining or full"), "{full:?}");
    assert!(full.err.contains("trying again is safe"), "{full:?}");

    let large = network.add_agent(&["echo"]);
    for uuid in ["second", "third", "fourth"] {
        assert_eq!(placed(&network, uuid, &[]), network.agent(large));
    }
    network.json(&["terminate", "echo/first"]);
    let mut attempt = 0;
    eventually("a container on the agent that has room again", || {
        attempt += 1;
        (placed(&network, &format!("later{attempt}"), &[]) == network.agent(small)).then_some(())
    });
}

#[test]
fn the_list_shows_those_whose_labels_meet_the_conditions() {
    let network = Network::start(1, &["echo"]);
    for (uuid, labels) in [
        ("echo/a", &["--label", "tier=web", "--label", "region=europe"][..]),
        ("echo/b", &["--label", "tier=web", "--label", "spot=yes"]),
        ("echo/c", &["--label", "tier=db"]),
        ("echo/d", &[]),
    ] {
        network.json(&[&["get", uuid], labels].concat());
    }
    for (select, uuids) in [
        ("tier=web", &["a", "b"][..]),
        ("tier=web,!spot", &["a"]),
        ("tier in (web,db)", &["a", "b", "c"]),
        ("tier notin (web)", &["c", "d"]),
        ("tier!=db,region", &["a"]),
        ("!tier", &["d"]),
        ("tier=none", &[]),
    ] {
        let listed = network.json(&["list", "--select", select]);
        let found: Vec<_> = listed.as_array().unwrap().iter().map(|c| &c["uuid"]).collect();
        assert_eq!(found, uuids, "{select}");
    }
    let got = network.json(&["get", "echo", "--select", "tier in (db)"]);
    assert_eq!(got["uuid"], "c");
    let none = network.run(&["list", "--select", "tier=none"]);
    assert!(none.text().contains("no container with such labels"), "{none:?}");
    let wrong = network.run(&["list", "--select", "tier in (web"]);
    assert!(wrong.refusal(2).contains("a parenthesis is not closed"), "{wrong:?}");
}
