//! Brings transactions to a workspace: in order, in batches, each until it is
//! acknowledged or refused.
//!
//! A workspace takes a batch as a whole or not at all, and knows a transaction
//! by its id. So a batch whose answer was lost is simply sent again; and when
//! a batch is refused, its transactions are sent one by one, which applies
//! those before the one at fault and tells which it is.

use std::time::Duration;

use hulynet_protocol::{ErrorKind, NetworkError, Retry};
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{batch::Batch, step::Step, tally::Tally};
use crate::failure::Failure;

/// The first pause before a batch is sent again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Where the pause stops to grow.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A workspace that takes transactions.
pub(super) trait Workspace {
    /// Applies a batch as a whole.
    async fn tx(&self, batch: &[Step]) -> Result<Vec<Applied>, NetworkError>;
}

/// The answer for one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Applied {
    /// False if it was there already.
    pub(super) new: bool,
}

/// How an import goes on.
pub(super) struct Import<'a, W> {
    pub(super) workspace: &'a W,
    /// What the source is called.
    pub(super) source: String,
    /// How long a batch is sent again after its first failure.
    pub(super) patience: Duration,
    pub(super) tally: Tally,
    /// Told after each acknowledged batch.
    pub(super) progress: &'a dyn Fn(&Tally),
}

impl<W: Workspace> Import<'_, W> {
    /// Applies everything that the source gives, until its end or a failure.
    /// What came before a failure is applied.
    pub(super) async fn run(
        &mut self,
        steps: &mut mpsc::Receiver<Result<Step, Failure>>,
    ) -> Result<(), Failure> {
        let mut batch = Batch::default();
        let end = loop {
            match steps.recv().await {
                Some(Ok(step)) => {
                    if batch.push(step) {
                        self.batch(&batch.take()).await?;
                    }
                }
                Some(Err(failure)) => break Err(failure),
                None => break Ok(()),
            }
        };
        self.batch(&batch.take()).await?;
        end.map_err(|failure| self.stopped(failure))
    }

    async fn batch(&mut self, batch: &[Step]) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        let refused = match self.send(batch).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !is_at_fault(&refused) {
            return Err(self.stopped(refused.into()));
        }
        for step in batch {
            if let Err(error) = self.send(std::slice::from_ref(step)).await {
                return Err(self.at_fault(step, error));
            }
        }
        Ok(())
    }

    /// Sends until it is acknowledged or refused: sending twice applies once.
    async fn send(&mut self, batch: &[Step]) -> Result<(), NetworkError> {
        let mut pause = FIRST_PAUSE;
        let mut failing_since = None;
        let answers = loop {
            match self.workspace.tx(batch).await {
                Ok(answers) => break answers,
                Err(error) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    if error.retry == Retry::Final || since.elapsed() >= self.patience {
                        return Err(error);
                    }
                    tracing::info!(%error, "sending a batch again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        if answers.len() != batch.len() {
            let message = format!(
                "{} transactions were sent and {} acknowledged",
                batch.len(),
                answers.len()
            );
            return Err(NetworkError::maybe_processed(ErrorKind::Protocol, message));
        }
        for (step, answer) in batch.iter().zip(answers) {
            self.tally.count(step, answer.new);
        }
        (self.progress)(&self.tally);
        Ok(())
    }

    fn at_fault(&self, step: &Step, error: NetworkError) -> Failure {
        let failure =
            if is_at_fault(&error) { Failure::usage(error.message) } else { error.into() };
        let place = format!("{} {}", self.source, step.place);
        self.stopped(failure.within(|cause| format!("{place}: {cause}")))
    }

    fn stopped(&self, failure: Failure) -> Failure {
        let (applied, already) = (self.tally.applied(), self.tally.already());
        failure.within(|cause| {
            format!(
                "{cause}; {applied} transactions were applied before that and stay, {already} were there already; \
                 it is safe to import again: nothing is applied twice"
            )
        })
    }
}

/// True if the error is about the transactions rather than about the way to
/// the workspace or the right to change it.
fn is_at_fault(error: &NetworkError) -> bool {
    matches!(error.kind, ErrorKind::Application | ErrorKind::InvalidArguments | ErrorKind::TooLarge)
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use super::*;
    use crate::import::step::{Does, Place};

    /// Applies what it is sent, but refuses `bad` and first fails as `failures`
    /// say.
    #[derive(Default)]
    struct Fake {
        known: RefCell<BTreeSet<String>>,
        failures: RefCell<Vec<NetworkError>>,
        bad: Option<&'static str>,
    }

    impl Workspace for Fake {
        async fn tx(&self, batch: &[Step]) -> Result<Vec<Applied>, NetworkError> {
            if batch.iter().any(|step| Some(step.text.as_str()) == self.bad) {
                return Err(NetworkError::refused(ErrorKind::Application, "no such document"));
            }
            let failure = self.failures.borrow_mut().pop();
            // An answer that is lost leaves the batch applied.
            if failure.as_ref().is_some_and(|failure| failure.retry != Retry::MaybeProcessed) {
                return Err(failure.unwrap());
            }
            let applied = batch
                .iter()
                .map(|step| Applied { new: self.known.borrow_mut().insert(step.text.clone()) })
                .collect();
            failure.map_or(Ok(applied), Err)
        }
    }

    async fn import(
        fake: &Fake,
        texts: &[&str],
        end: Option<Failure>,
    ) -> (Tally, Result<(), String>) {
        let (send, mut steps) = mpsc::channel(100);
        for (line, text) in (1..).zip(texts) {
            let step = Step {
                place: Place::Line(line),
                class: "c".into(),
                does: Does::Create,
                text: (*text).into(),
            };
            send.send(Ok(step)).await.unwrap();
        }
        if let Some(end) = end {
            send.send(Err(end)).await.unwrap();
        }
        drop(send);
        let patience = Duration::from_secs(30);
        let mut import = Import {
            workspace: fake,
            source: "f".into(),
            patience,
            tally: Tally::default(),
            progress: &|_| {},
        };
        let end = import.run(&mut steps).await.map_err(|failure| failure.to_string());
        (import.tally, end)
    }

    #[tokio::test]
    async fn what_is_imported_again_is_there_already() {
        let fake = Fake::default();
        let (tally, _) = import(&fake, &["a", "b"], None).await;
        assert_eq!((tally.applied(), tally.already()), (2, 0));
        let (tally, end) = import(&fake, &["a", "b", "c"], None).await;
        assert_eq!((tally.applied(), tally.already(), end), (1, 2, Ok(())));
    }

    #[tokio::test]
    async fn a_refused_transaction_is_named_and_those_before_it_are_applied() {
        let fake = Fake { bad: Some("c"), ..Fake::default() };
        let (tally, end) = import(&fake, &["a", "b", "c", "d"], None).await;
        assert_eq!(tally.applied(), 2);
        let message = end.unwrap_err();
        assert!(
            message.starts_with("f line 3: no such document; 2 transactions were applied"),
            "{message}"
        );
        assert!(!fake.known.borrow().contains("d"));
    }

    #[tokio::test]
    async fn what_comes_before_a_malformed_line_is_applied() {
        let fake = Fake::default();
        let (tally, end) =
            import(&fake, &["a", "b"], Some(Failure::usage("f line 3: not JSON"))).await;
        assert_eq!(tally.applied(), 2);
        assert!(end.unwrap_err().starts_with("f line 3: not JSON; 2 transactions were applied"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_batch_is_sent_again_and_a_lost_answer_counts_as_there_already() {
        let lost = NetworkError::not_processed(ErrorKind::Unavailable, "lost");
        let maybe = NetworkError::maybe_processed(ErrorKind::Unavailable, "answer lost");
        let fake = Fake { failures: RefCell::new(vec![lost.clone(), lost]), ..Fake::default() };
        let (tally, end) = import(&fake, &["a"], None).await;
        assert_eq!((tally.applied(), end), (1, Ok(())));
        let fake = Fake { failures: RefCell::new(vec![maybe]), ..Fake::default() };
        let (tally, end) = import(&fake, &["a"], None).await;
        assert_eq!((tally.already(), end), (1, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let lost = NetworkError::not_processed(ErrorKind::Unavailable, "lost");
        let fake = Fake { failures: RefCell::new(vec![lost; 100]), ..Fake::default() };
        let (_, end) = import(&fake, &["a"], None).await;
        assert!(end.unwrap_err().starts_with("lost; 0 transactions were applied"));
        assert!(!fake.failures.borrow().is_empty());
    }

    #[tokio::test]
    async fn a_refusal_that_is_no_fault_of_the_input_names_no_line() {
        let denied = NetworkError::refused(ErrorKind::PermissionDenied, "not a member");
        let fake = Fake { failures: RefCell::new(vec![denied]), ..Fake::default() };
        let (_, end) = import(&fake, &["a"], None).await;
        assert!(end.unwrap_err().starts_with("not a member; 0 transactions"));
    }
}
