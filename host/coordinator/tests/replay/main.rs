//! Recorded traffic of the original network: what its peers sent goes in, and
//! what comes out equals the recording, but for ids and what is done better
//! on purpose. Every difference is named here.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod house;
mod recording;
mod server;
mod wire;

use std::path::Path;

use recording::{Recording, Spoken, event, fixture, recording};
use server::Server;

/// Plays a recording, with the named differences applied to it.
fn plays(name: &str, differences: impl FnOnce(&mut Recording)) {
    let Some(mut recording) = recording(name, "coordinator") else { return };
    let heard = house::play(&recording);
    differences(&mut recording);
    recording.compare(&heard);
}

/// Plays what was said to another server than the coordinator.
fn plays_on(name: &str, link: &str, server: Server) {
    let Some(recording) = recording(name, link) else { return };
    assert!(!recording.sent.is_empty());
    recording.compare(&server.play(&recording));
}

#[test]
fn hello_ping_and_close() {
    plays("01-hello-ping-close", |_| {});
}

#[test]
fn a_stranger_is_sent_away_and_asked_for_hello_at_once() {
    plays("02-retry-before-hello-and-askhello", |recording| {
        recording.insert_answer(1, 1, "9", "SERVER", "");
    });
}

#[test]
fn a_silent_client_is_answered_instead_of_sent_away() {
    plays("03-askhello-after-silence", |recording| {
        let spoken = recording.answers.get_mut(&1).unwrap();
        // Every request is answered, the first one revives the session.
        for message in spoken.iter_mut().filter(|message| message.operation == "7") {
            *message = Spoken::new("2", &message.id, "[]");
        }
        let first = spoken.iter().position(|message| message.operation == "2").unwrap();
        let asked = spoken.iter().position(|message| message.operation == "9").unwrap();
        let ask = spoken.remove(asked);
        spoken.insert(first, ask);
    });
}

#[test]
fn registration_kinds_agents_and_leaving() {
    plays("04-register-kinds-agents-unregister", |recording| {
        // Agents without containers are told to be gone, too.
        let removed = event("agent", "agent-A", 2);
        recording.events.get_mut(&2).unwrap().push(removed);
        recording.came_later(2, &event("agent", "agent-A", 0));
    });
}

#[test]
fn get_list_release_and_the_end_of_what_nobody_holds() {
    plays("05-get-list-release-terminate", |recording| {
        // Without a kind all containers are listed.
        recording.came_later(2, &event("agent", "agent-A", 0));
        let all = recording.answer(2, "73298cd4-fb9a-425c-b371-b3db8172e3ee-3").body.clone();
        recording.answer(2, "73298cd4-fb9a-425c-b371-b3db8172e3ee-5").body = all;
    });
}

#[test]
fn requests_pass_through_with_their_answers_and_errors() {
    plays("06-proxied-requests", |_| {});
}

#[test]
fn gets_that_fail_and_methods_that_do_not_exist() {
    plays("07-get-failures-and-unknown-method", |_| {});
}

#[test]
fn the_death_of_an_agent_is_told_and_its_containers_are_not_listed() {
    plays("08-events-agent-death", |recording| {
        // A container that is held is not gone: it waits for another agent.
        for events in recording.events.values_mut() {
            events.retain(|told| *told != event("container", "c-1", 2));
        }
    });
}

#[test]
fn a_proxied_broadcast() {
    plays("09-routed", |_| {});
}

#[test]
fn a_container_behind_the_server_of_its_agent() {
    plays_on("09-routed", "agent-server", Server::agent("c-1"));
}

#[test]
fn the_twenty_seventh_request_is_put_off() {
    plays("10-request-limit-retry", |_| {});
}

#[test]
fn a_restart_of_the_coordinator_with_a_request_on_its_way() {
    plays("11-coordinator-restart", |recording| {
        recording.came_later(2, &event("agent", "agent-A", 0))
    });
}

#[test]
fn the_first_agent_wins_and_the_second_takes_over() {
    plays("12-ha-first-agent-wins", |recording| {
        for (what, name) in [("agent", "agent-1"), ("container", "shared")] {
            recording.came_later(3, &event(what, name, 0));
        }
        // The second is asked at once, because a client holds the container.
        let get = Spoken::new("1", "*", r#"["gg",["agent-2",["ha",{"uuid":"shared"}]]]"#);
        recording.asked.get_mut(&2).unwrap().insert(0, get);
        for (connection, events) in &mut recording.events {
            // Those who hold it follow it by its update.
            let added = event("container", "shared", 0);
            let last = events.iter().rposition(|told| *told == added).unwrap();
            if *connection != 1 {
                events[last] = event("container", "shared", 1);
            }
        }
    });
}

#[test]
fn a_container_with_a_server_of_its_own() {
    plays("13-direct-container-endpoint", |_| {});
    plays_on("13-direct-container-endpoint", "container-server", Server::Container);
}

#[test]
fn malformed_requests_are_all_answered() {
    plays("14-malformed", |recording| {
        // The texts are ours, where the original shows its own defects.
        for (place, id) in ["m-1", "m-2", "m-3", "m-4"].into_iter().enumerate() {
            recording.answers.get_mut(&1).unwrap().retain(|message| message.id != id);
            recording.insert_answer(1, 1 + place, "3", id, "*");
        }
    });
}

#[test]
fn what_was_written_by_hand_is_played_like_what_was_recorded() {
    for name in ["session", "network", "loss", "singleton", "malformed"] {
        let recording = fixture(name, "coordinator");
        recording.compare(&house::play(&recording));
    }
    let routed = fixture("routed", "agent-server");
    routed.compare(&Server::agent("c-1").play(&routed));
    let direct = fixture("routed", "container-server");
    direct.compare(&Server::Container.play(&direct));
}

#[tokio::test]
async fn bytes_on_the_wire_are_answered_as_they_were_recorded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(wire::play(&root.join("tests/replay/fixtures/wire.jsonl")).await);
    wire::play(&root.join("../../../shared/backrpc/transcripts/15-zmtp-raw-bytes.jsonl")).await;
}
