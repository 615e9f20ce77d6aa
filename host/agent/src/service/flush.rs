//! Sends the events of containers, on the thread of the bus.
//!
//! A container that has events orders a flush. It happens when the thread has
//! handled what came before, so the events of all requests that came together
//! leave together, and their answers leave first.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::yield_now,
    time::{MissedTickBehavior, interval},
};

use crate::capabilities::{Connections, Left};

/// How often those are tried again for whose events there was no room.
const AGAIN: Duration = Duration::from_millis(5);

/// Those for whose events there was no room, by their address in memory.
type Held = HashMap<usize, Arc<Connections>>;

/// Runs as long as the agent.
pub(super) async fn run(mut orders: UnboundedReceiver<Arc<Connections>>) {
    let mut held = Held::new();
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ordered = orders.recv() => match ordered {
                Some(connections) => flush(connections, &mut held),
                None => return,
            },
            _ = again.tick(), if !held.is_empty() => {
                for (_, connections) in std::mem::take(&mut held) {
                    flush(connections, &mut held);
                }
            }
        }
        // Whoever else is on this thread takes turns with those that have much
        // to send.
        yield_now().await;
    }
}

fn flush(connections: Arc<Connections>, held: &mut Held) {
    match connections.flush() {
        Left::Nothing => {}
        Left::Held => drop(held.insert(Arc::as_ptr(&connections).addr(), connections)),
        // After all that ordered one since.
        Left::More => connections.order(),
    }
}
