//! Carries out what the table of references asks for.

use std::sync::Arc;

use hulynet_protocol::{Call, ContainerId, ContainerRecord, NetworkError, Reply};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};

use crate::{
    references::Action,
    shared::{Shared, unexpected},
};

/// The most reclaims and releases under way at once.
const CALLS: usize = 256;

/// Runs until the client is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let calls = Arc::new(Semaphore::new(CALLS));
    loop {
        while let Some(action) = shared.held.next_action() {
            perform(&shared, &calls, action);
        }
        let due = shared.held.read(|table| table.next_timeout());
        tokio::select! {
            () = shared.closed.cancelled() => return,
            () = shared.held.changed() => {}
            () = sleep_until(due.map_or_else(Instant::now, Instant::from)), if due.is_some() => {
                shared.held.update(|table| table.handle_timeout(Instant::now().into_std()));
            }
        }
    }
}

fn perform(shared: &Arc<Shared>, calls: &Arc<Semaphore>, action: Action) {
    match action {
        Action::Located { token, result } => shared.held.located(token, result),
        Action::Released { token } => shared.held.released(token),
        Action::Moved(record) => shared.connections.moved(&record),
        Action::Unused(address) => shared.agents.close(&address),
        Action::Reclaim { id, epoch, options } => {
            let call = Call::Reclaim { id: id.clone(), epoch, options };
            spawn(shared, calls, call, move |shared, result| reclaimed(shared, &id, result));
        }
        Action::Release(id) => {
            spawn(shared, calls, Call::Release(id.clone()), move |shared, result| {
                if let Err(error) = result {
                    tracing::warn!(container = %id, %error, "a release was not confirmed");
                }
                shared.held.update(|table| table.released(&id));
            });
        }
    }
}

/// Makes a call beside the driver, as one of at most [`CALLS`].
fn spawn(
    shared: &Arc<Shared>,
    calls: &Arc<Semaphore>,
    call: Call,
    done: impl FnOnce(&Shared, Result<Reply, NetworkError>) + Send + 'static,
) {
    let (shared, calls) = (Arc::clone(shared), Arc::clone(calls));
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let work = async {
            let _permit = calls.acquire().await;
            let response = shared.coordinator.ask(call, shared.deadline()).await;
            done(&shared, response.map(|response| response.reply));
        };
        tokio::select! {
            () = shared.closed.cancelled() => {}
            () = work => {}
        }
    });
}

fn reclaimed(shared: &Shared, id: &ContainerId, result: Result<Reply, NetworkError>) {
    let result: Result<ContainerRecord, _> = match result {
        Ok(Reply::Container(record)) if record.id == *id => Ok(record),
        Ok(other) => Err(unexpected("a reclaim", &other)),
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        tracing::warn!(container = %id, %error, "a reference cannot be held now");
    }
    let now = Instant::now().into_std();
    shared.held.update(|table| table.reclaimed(now, id, result));
}
