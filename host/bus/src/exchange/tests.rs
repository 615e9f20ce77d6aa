use std::sync::atomic::Ordering;

use futures::FutureExt;
use hulynet_protocol::{Call, frame::INITIAL_CREDIT};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::lane::Command;

fn exchange() -> (Exchange, mpsc::UnboundedReceiver<Command>) {
    let (lane, commands) = mpsc::unbounded_channel();
    let peer = ClientId::new("peer").unwrap();
    let mut exchange = Exchange::new(7, peer, lane, Arc::default());
    assert!(exchange.attach(Arc::default()).is_empty());
    (exchange, commands)
}

fn outgoing(frame: &Frame) -> Outgoing {
    Outgoing::new(frame, Bytes::new()).unwrap()
}

fn done(id: u64) -> Outgoing {
    outgoing(&Frame::Response { id, result: Ok(Reply::Done) })
}

fn ask(exchange: &mut Exchange, id: u64) -> oneshot::Receiver<Result<Response, NetworkError>> {
    let (asker, answer) = oneshot::channel();
    exchange.expect(id, Pending { asker, message: done(id) });
    answer
}

fn request(exchange: &mut Exchange, id: u64) -> Outcome {
    let frame = Frame::Request { id, acknowledged: 0, deadline_ms: 1000, call: Call::Kinds };
    exchange.receive(frame, Bytes::new(), Instant::now())
}

fn receive(exchange: &mut Exchange, frame: Frame) -> Outcome {
    exchange.receive(frame, Bytes::from_static(b"x"), Instant::now())
}

#[test]
fn an_answer_reaches_its_caller_once() {
    let (mut exchange, _commands) = exchange();
    let mut answer = ask(&mut exchange, 1);
    receive(&mut exchange, Frame::Response { id: 2, result: Ok(Reply::Done) });
    assert!(answer.try_recv().is_err());
    receive(&mut exchange, Frame::Response { id: 1, result: Ok(Reply::Payload) });
    let response = answer.try_recv().unwrap().unwrap();
    assert!(matches!(response.body, Body::Payload(payload) if payload == "x"));
    assert!(exchange.cancel(1).is_none());
}

#[tokio::test]
async fn the_end_reaches_everybody() {
    let (mut exchange, _commands) = exchange();
    let mut answer = ask(&mut exchange, 1);
    let Outcome::Request(mut asked) = request(&mut exchange, 1) else { panic!("no request") };
    exchange.end(&busy("over"));
    assert_eq!(answer.try_recv().unwrap().unwrap_err().message, "over");
    assert!(asked.responder.cancelled().now_or_never().is_some());
}

#[test]
fn a_request_executed_twice_after_a_reconnect() {
    let (mut exchange, mut commands) = exchange();
    let Outcome::Request(first) = request(&mut exchange, 1) else { panic!("no request") };
    let Outcome::Request(second) = request(&mut exchange, 2) else { panic!("no request") };
    exchange.detach();
    // Answered while there is no connection; then both come again.
    first.responder.reply(Ok((Reply::Done, Bytes::new())));
    let Ok(Command::Answer { id: 1, message, .. }) = commands.try_recv() else { panic!() };
    assert!(exchange.answer(1, message, false).is_none());
    assert!(exchange.attach(Arc::default()).is_empty());
    assert!(matches!(request(&mut exchange, 1), Outcome::Again(_)));
    assert!(matches!(request(&mut exchange, 2), Outcome::Nothing));
    assert!(exchange.answer(2, done(2), false).is_some());
    assert!(exchange.answer(2, done(2), false).is_none());
    exchange.acknowledge(2);
    let late = request(&mut exchange, 1);
    let Outcome::Send(Frame::Response { id: 1, result: Err(error) }) = late else { panic!() };
    assert_eq!(error.retry, hulynet_protocol::Retry::MaybeProcessed);
    drop(second);
}

#[test]
fn what_was_not_answered_is_sent_again_in_order_and_the_rest_is_acknowledged() {
    let (mut exchange, _commands) = exchange();
    let answers: Vec<_> = (1..=4).map(|id| ask(&mut exchange, id)).collect();
    receive(&mut exchange, Frame::Response { id: 1, result: Ok(Reply::Done) });
    receive(&mut exchange, Frame::Response { id: 3, result: Ok(Reply::Done) });
    assert_eq!(exchange.acknowledged(), 1);
    exchange.detach();
    assert_eq!(exchange.attach(Arc::default()).len(), 2);
    receive(&mut exchange, Frame::Response { id: 2, result: Ok(Reply::Done) });
    assert_eq!(exchange.acknowledged(), 3);
    exchange.give_up(&busy("over"));
    assert_eq!(exchange.acknowledged(), 4);
    drop(answers);
}

#[tokio::test]
async fn streams_end_with_their_connection() {
    let (mut exchange, _commands) = exchange();
    let mut answer = ask(&mut exchange, 1);
    receive(&mut exchange, Frame::Response { id: 1, result: Ok(Reply::Stream) });
    let Body::Stream(mut chunks) = answer.try_recv().unwrap().unwrap().body else { panic!() };
    let Outcome::Request(asked) = request(&mut exchange, 1) else { panic!("no request") };
    let mut sender = asked.responder.stream();
    assert!(exchange.answer(1, done(1), true).is_some());
    exchange.detach();
    assert!(chunks.next().now_or_never().unwrap().unwrap().is_err());
    assert!(sender.cancelled().now_or_never().is_some());
    assert!(!exchange.answer_chunk(1, false));
    // One that begins without a connection has nobody to read it either.
    let Outcome::Request(asked) = request(&mut exchange, 2) else { panic!("no request") };
    assert!(exchange.answer(2, done(2), true).is_none());
    assert!(asked.responder.stream().cancelled().now_or_never().is_some());
}

#[test]
fn too_many_requests_in_progress_are_refused() {
    let (mut exchange, _commands) = exchange();
    let progress: Vec<_> = (1..=IN_PROGRESS as u64).map(|id| request(&mut exchange, id)).collect();
    assert!(progress.iter().all(|outcome| matches!(outcome, Outcome::Request(_))));
    let refused = request(&mut exchange, u64::MAX);
    assert!(matches!(
        refused,
        Outcome::Send(Frame::Response { result: Err(error), .. }) if error.kind == ErrorKind::Busy
    ));
}

#[test]
fn a_sender_that_ignores_its_credit_is_cut_off() {
    let (mut exchange, _commands) = exchange();
    let mut answer = ask(&mut exchange, 1);
    receive(&mut exchange, Frame::Response { id: 1, result: Ok(Reply::Stream) });
    let response = answer.try_recv().unwrap().unwrap();
    let chunk = || Frame::Chunk { id: 1, end: None };
    for _ in 0..=INITIAL_CREDIT {
        assert!(matches!(receive(&mut exchange, chunk()), Outcome::Nothing));
    }
    let cut = receive(&mut exchange, chunk());
    assert!(matches!(cut, Outcome::Send(Frame::Cancel { id: 1 })));
    let Body::Stream(mut chunks) = response.body else { panic!("no stream") };
    for _ in 0..=INITIAL_CREDIT {
        assert!(chunks.next().now_or_never().unwrap().unwrap().is_ok());
    }
    assert!(chunks.next().now_or_never().unwrap().unwrap().is_err());
}

#[test]
fn a_stream_that_nobody_reads_is_cancelled() {
    let (mut exchange, mut commands) = exchange();
    drop(ask(&mut exchange, 1));
    receive(&mut exchange, Frame::Response { id: 1, result: Ok(Reply::Stream) });
    assert!(matches!(commands.try_recv(), Ok(Command::Cancel { session: 7, id: 1 })));
    assert!(matches!(exchange.cancel(1), Some(Frame::Cancel { id: 1 })));
}

#[test]
fn the_payloads_of_requests_in_progress_are_bounded() {
    let (mut exchange, _commands) = exchange();
    let payload = Bytes::from(vec![0; PAYLOADS / 4]);
    let request = |exchange: &mut Exchange, id| {
        let frame = Frame::Request { id, acknowledged: 0, deadline_ms: 1000, call: Call::Kinds };
        exchange.receive(frame, payload.clone(), Instant::now())
    };
    let _begun: Vec<_> = (1..5).map(|id| request(&mut exchange, id)).collect();
    let refused = request(&mut exchange, 5);
    let Outcome::Send(Frame::Response { result: Err(error), .. }) = refused else { panic!() };
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(exchange.answer(1, done(1), true).is_some());
    assert!(matches!(request(&mut exchange, 5), Outcome::Request(_)));
    assert!(exchange.answer_chunk(1, true));
    assert!(exchange.answer(2, done(2), false).is_some());
    assert!(matches!(request(&mut exchange, 6), Outcome::Request(_)));
    receive(&mut exchange, Frame::Cancel { id: 3 });
    assert!(matches!(request(&mut exchange, 7), Outcome::Request(_)));
    assert!(matches!(request(&mut exchange, 8), Outcome::Send(_)));
}

#[test]
fn the_payloads_of_all_peers_together_are_bounded() {
    let all = Totals::default();
    let begin = |exchange: &mut Exchange, id, length| {
        let frame = Frame::Request { id, acknowledged: 0, deadline_ms: 1000, call: Call::Kinds };
        exchange.receive(frame, Bytes::from(vec![0; length]), Instant::now())
    };
    let (mut ann, _ann) = exchange();
    let (mut bob, _bob) = exchange();
    ann.share(&all);
    bob.share(&all);
    all.payloads.store(ALL_PAYLOADS - 10, Ordering::Relaxed);
    let Outcome::Request(held) = begin(&mut ann, 1, 10) else { panic!("no request") };
    let refused = begin(&mut bob, 1, 1);
    let Outcome::Send(Frame::Response { result: Err(error), .. }) = refused else { panic!() };
    assert_eq!(error.kind, ErrorKind::Busy);
    drop(ann);
    assert!(matches!(begin(&mut bob, 2, 1), Outcome::Request(_)));
    drop(held);
}

#[test]
fn the_answers_that_are_kept_for_all_peers_together_are_bounded() {
    let all = Totals::default();
    let (mut ann, _ann) = exchange();
    let (mut bob, _bob) = exchange();
    ann.share(&all);
    bob.share(&all);
    let _asked = [request(&mut ann, 1), request(&mut bob, 1), request(&mut bob, 2)];
    assert!(ann.answer(1, done(1), false).is_some());
    let kept = all.answers.load(Ordering::Relaxed);
    assert_eq!(kept, done(1).cost());

    all.answers.fetch_add(ALL_ANSWERS - kept, Ordering::Relaxed);
    assert!(bob.answer(1, done(1), false).is_some(), "it is sent, but not kept");
    assert_eq!(all.answers.load(Ordering::Relaxed), ALL_ANSWERS);
    let again = request(&mut bob, 1);
    assert!(matches!(again, Outcome::Send(Frame::Response { result: Err(_), .. })), "{again:?}");
    assert!(matches!(request(&mut ann, 1), Outcome::Again(_)), "hers is kept still");

    ann.acknowledge(1);
    assert!(bob.answer(2, done(2), false).is_some());
    assert!(matches!(request(&mut bob, 2), Outcome::Again(_)), "there is room again");
    drop((ann, bob));
    assert_eq!(all.answers.load(Ordering::Relaxed), ALL_ANSWERS - kept);
}
