//! `connect`: prints what a container broadcasts.

use std::future;

use bytes::Bytes;
use futures::StreamExt;
use hulynet_client::{ConnectionEvent, Subscription};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{
    ask::{hold, options},
    reach::with_client,
};
use crate::{
    cli::Connect,
    config::{Origin, Settings},
    failure::Failure,
    output, shutdown,
    units::Typed,
};

/// `hulynet connect`.
pub(crate) async fn connect(settings: &Settings, connect: &Connect) -> Result<(), Failure> {
    let options = options(&connect.get)?;
    let asked = shutdown::on_signal()?;
    let limited = matches!(settings.origin("timeout"), Some(Origin::Flag(_)));
    let deadline = limited.then(|| Instant::now() + settings.timeout);
    with_client(settings, async |client| {
        let reference = hold(client, &connect.get, options).await?;
        let mut events = reference.subscribe(Subscription::new().policy(connect.policy)).await?;
        output::note(&format!("connected to {}", reference.id()));
        let mut printed = 0;
        while connect.count.is_none_or(|count| printed < count) {
            let event = tokio::select! {
                event = events.next() => event,
                () = asked.cancelled() => return Ok(()),
                () = until(deadline) => return late(settings, connect, printed),
            };
            match event {
                Some(Ok(ConnectionEvent::Message(payload))) => {
                    output::line(&json_line(&payload))?;
                    printed += 1;
                }
                Some(Ok(ConnectionEvent::Reconnected { epoch })) => {
                    output::note(&format!(
                        "note: connected again, now to epoch {epoch}; events may have been missed"
                    ));
                }
                Some(Ok(ConnectionEvent::Missed(missed))) => {
                    output::note(&format!(
                        "note: {missed} events were dropped, because they were not read in time"
                    ));
                }
                Some(Err(error)) => return Err(error.into()),
                None => {
                    return Err(Failure::refused(format!(
                        "{} ended the connection",
                        reference.id()
                    )));
                }
            }
        }
        Ok(())
    })
    .await
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => future::pending().await,
    }
}

fn late(settings: &Settings, connect: &Connect, printed: u64) -> Result<(), Failure> {
    let Some(count) = connect.count else { return Ok(()) };
    Err(Failure::late(format!(
        "{printed} of {count} events came within {}; allow more time with --timeout",
        settings.timeout.show()
    )))
}

/// The event on one line of JSON.
fn json_line(payload: &Bytes) -> String {
    let value = serde_json::from_slice(payload)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(payload)));
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_always_one_line_of_json() {
        assert_eq!(json_line(&Bytes::from_static(b"{\n \"a\": 1 }")), r#"{"a":1}"#);
        assert_eq!(json_line(&Bytes::from_static(b"two\nlines")), r#""two\nlines""#);
        assert_eq!(json_line(&Bytes::new()), r#""""#);
    }
}
