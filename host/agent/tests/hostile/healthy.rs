//! The container that is healthy while others attack.

use std::{
    cell::Cell,
    iter::successors,
    sync::Arc,
    thread::{self, JoinHandle},
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
    /// alone. A slow answer may be the machine's, one in ten is not, unless the
    /// machine stood still for as long.
    pub async fn beside<T>(&self, attack: impl Future<Output = T>) -> T {
        let _alone = ATTACKS.lock().await;
        let over = Cell::new(false);
        let attack = async {
            let outcome = attack.await;
            over.set(true);
            outcome
        };
        let machine = Machine::watch();
        let (outcome, beside) = tokio::join!(attack, self.waits(|| over.get()));
        let stood_still = machine.stood_still();
        if beside > self.alone + LONGER + stood_still {
            // It may be the machine that has more to do than before, but then it
            // has right after, too.
            let alone = self.waits(|| true).await;
            assert!(
                beside <= alone + LONGER + stood_still,
                "one in ten waited for the healthy container for over {beside:?}; alone for {:?} \
                 before and {alone:?} after; the machine stood still for {stood_still:?}",
                self.alone
            );
        }
        outcome
    }

    /// Asks until that is over and often enough. Tells how long nine in ten wait
    /// at most.
    async fn waits(&self, over: impl Fn() -> bool) -> Duration {
        let mut waits = Vec::new();
        let mut come = 0;
        // What it was asked last it answers, too, however late.
        while !over() || come < ENOUGH {
            let took = self.answers().await;
            come += 1 + took.div_duration_f64(EVERY) as usize;
            waits.push(took);
            tokio::time::sleep(EVERY).await;
        }
        nine_in_ten(waits.into_iter())
    }
}

/// What nine in ten of those wait at most who come at any moment while these are
/// waited for: not only one waits, but everybody who would have come meanwhile.
fn nine_in_ten(waits: impl Iterator<Item = Duration>) -> Duration {
    let come = |took| successors(Some(took), |wait: &Duration| wait.checked_sub(EVERY));
    let mut waits: Vec<_> = waits.flat_map(come).collect();
    waits.sort_unstable();
    waits[waits.len() * 9 / 10]
}

/// A thread that does nothing but come back in time, as far as the machine lets it.
struct Machine {
    watched: Arc<()>,
    watching: JoinHandle<Duration>,
}

impl Machine {
    /// Until it is dropped.
    fn watch() -> Self {
        let watched = Arc::new(());
        let watches = Arc::downgrade(&watched);
        let watching = thread::spawn(move || {
            let mut late = vec![Duration::ZERO];
            while watches.strong_count() > 0 {
                let begun = Instant::now();
                thread::sleep(EVERY);
                late.push(begun.elapsed().saturating_sub(EVERY));
            }
            nine_in_ten(late.into_iter())
        });
        Self { watched, watching }
    }

    /// How late one in ten came at least.
    fn stood_still(self) -> Duration {
        drop(self.watched);
        self.watching.join().unwrap()
    }
}
