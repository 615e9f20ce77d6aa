//! The container that is healthy while others attack.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hulynet_bus::Peer;
use hulynet_protocol::Call;
use tokio::sync::Mutex;

use crate::support::{PATIENCE, World, container_call, text};

const NAME: &str = "healthy";
/// The slowest answer that is accepted. It is generous because tests share the
/// machine with other programs.
const SLOWEST: Duration = Duration::from_secs(2);
/// How much longer than alone half of the answers may take beside an attack.
const LONGER: Duration = Duration::from_millis(20);
/// Attacks that take less time are over before there are enough answers for a
/// median that says anything.
const SHORT: Duration = Duration::from_millis(100);
/// Tests of this program run side by side, and what one of them attacks with is no
/// fault of the agent of another one.
static ATTACKS: Mutex<()> = Mutex::const_new(());
/// Answers from which it is known how long one takes alone.
const ALONE: usize = 25;

/// The healthy container of an agent.
pub struct Healthy {
    client: Peer,
    /// How long half of its answers take at most while nothing else runs.
    alone: Duration,
}

impl Healthy {
    /// Starts it on an agent on which nothing else runs yet.
    pub async fn start(world: &World) -> Self {
        world.start(NAME).await;
        let mut healthy = Self { client: world.client.clone(), alone: Duration::ZERO };
        let _alone = ATTACKS.lock().await;
        let mut times = Vec::new();
        for _ in 0..ALONE {
            times.push(healthy.answers().await);
        }
        healthy.alone = median(times);
        healthy
    }

    /// Whether it answers, and right. Tells how long that took.
    pub async fn answers(&self) -> Duration {
        let begun = Instant::now();
        let call = Call::Container(container_call(NAME, "echo"));
        let answer = self.client.call(call, Bytes::from_static(b"on"), PATIENCE).await.unwrap();
        assert_eq!(text(answer).await.unwrap(), "on");
        let took = begun.elapsed();
        assert!(took < SLOWEST, "the healthy container took {took:?}");
        took
    }

    /// Attacks, while it is asked again and again and answers about as fast as
    /// alone. A slow answer may be the machine's, half of them are not.
    pub async fn beside<T>(&self, attack: impl Future<Output = T>) -> T {
        let _alone = ATTACKS.lock().await;
        let (begun, over) = (Instant::now(), Cell::new(None));
        let attack = async {
            let outcome = attack.await;
            over.set(Some(begun.elapsed()));
            outcome
        };
        // What it was asked last it answers, too, however late.
        let asked = async {
            let mut times = Vec::new();
            while over.get().is_none() {
                times.push(self.answers().await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            times
        };
        let (outcome, times) = tokio::join!(attack, asked);
        self.answers().await;
        if over.get().is_some_and(|lasted| lasted >= SHORT) {
            let (alone, count, beside) = (self.alone, times.len(), median(times));
            assert!(
                beside <= alone + LONGER,
                "half of {count} answers took the healthy container {beside:?}, alone {alone:?}"
            );
        }
        outcome
    }
}

/// What half of the times are not above.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
