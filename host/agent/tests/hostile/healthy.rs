//! The container that is healthy while others attack.

use std::{
    cell::Cell,
    iter::successors,
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
/// How much longer than alone nine in ten may wait beside an attack.
const LONGER: Duration = Duration::from_millis(20);
/// One comes so often to ask.
const EVERY: Duration = Duration::from_millis(1);
/// So many are asked for in any case, so that attacks that are over at once are
/// judged too: by those who came meanwhile and right after.
const ENOUGH: usize = 50;
/// Tests of this program run side by side, and what one of them attacks with is no
/// fault of the agent of another one.
static ATTACKS: Mutex<()> = Mutex::const_new(());

/// The healthy container of an agent.
pub struct Healthy {
    client: Peer,
    /// How long nine in ten wait at most while nothing else runs.
    alone: Duration,
}

impl Healthy {
    /// Starts it on an agent on which nothing else runs yet.
    pub async fn start(world: &World) -> Self {
        world.start(NAME).await;
        let mut healthy = Self { client: world.client.clone(), alone: Duration::ZERO };
        let _alone = ATTACKS.lock().await;
        healthy.alone = healthy.waits(|| true).await;
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
    /// alone. A slow answer may be the machine's, one in ten is not.
    pub async fn beside<T>(&self, attack: impl Future<Output = T>) -> T {
        let _alone = ATTACKS.lock().await;
        let over = Cell::new(false);
        let attack = async {
            let outcome = attack.await;
            over.set(true);
            outcome
        };
        let (outcome, beside) = tokio::join!(attack, self.waits(|| over.get()));
        if beside > self.alone + LONGER {
            // It may be the machine that has more to do than before, but then it
            // has right after, too.
            let alone = self.waits(|| true).await;
            assert!(
                beside <= alone + LONGER,
                "one in ten waited for the healthy container for over {beside:?}; alone for {:?} \
                 before and {alone:?} after",
                self.alone
            );
        }
        outcome
    }

    /// Asks until that is over and often enough. Tells how long nine in ten wait
    /// at most who come at any moment: not only one waits for a late answer, but
    /// everybody who would have come meanwhile.
    async fn waits(&self, over: impl Fn() -> bool) -> Duration {
        let mut waits = Vec::new();
        // What it was asked last it answers, too, however late.
        while !over() || waits.len() < ENOUGH {
            let took = self.answers().await;
            waits.extend(successors(Some(took), |wait| wait.checked_sub(EVERY)));
            tokio::time::sleep(EVERY).await;
        }
        waits.sort_unstable();
        waits[waits.len() * 9 / 10]
    }
}
