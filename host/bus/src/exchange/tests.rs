use futures::FutureExt;
use hulynet_protocol::{Call, frame::INITIAL_CREDIT};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::lane::Command;

fn exchange() -> (Exchange, mpsc::UnboundedReceiver<Command>) {
    let (lane, commands) = mpsc::unbounded_channel();
    let peer = ClientId::new("peer").unwrap();
    (Exchange::new(7, peer, lane, Arc::default()), commands)
}

fn ask(exchange: &mut Exchange, id: u64) -> oneshot::Receiver<Result<Response, NetworkError>> {
    let (asker, answer) = oneshot::channel();
    exchange.expect(id, Pending { asker, message: None });
    answer
}

fn request(exchange: &mut Exchange, id: u64) -> Outcome {
    let frame = Frame::Request { id, deadline_ms: 1000, call: Call::Kinds };
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
fn a_request_in_progress_is_not_begun_twice() {
    let (mut exchange, _commands) = exchange();
    let first = request(&mut exchange, 1);
    assert!(matches!(first, Outcome::Request(_)));
    assert!(matches!(request(&mut exchange, 1), Outcome::Misplaced));
    assert!(exchange.answer(1, true));
    assert!(!exchange.answer(1, true));
}

#[test]
fn too_many_requests_in_progress_are_refused() {
    let (mut exchange, _commands) = exchange();
    let progress: Vec<_> = (0..IN_PROGRESS as u64).map(|id| request(&mut exchange, id)).collect();
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
    assert!(matches!(commands.try_recv(), Ok(Command::Cancel { connection: 7, id: 1 })));
    assert!(matches!(exchange.cancel(1), Some(Frame::Cancel { id: 1 })));
}

#[test]
fn the_payloads_of_requests_in_progress_are_bounded() {
    let (mut exchange, _commands) = exchange();
    let payload = Bytes::from(vec![0; PAYLOADS / 4]);
    let request = |exchange: &mut Exchange, id| {
        let frame = Frame::Request { id, deadline_ms: 1000, call: Call::Kinds };
        exchange.receive(frame, payload.clone(), Instant::now())
    };
    let _begun: Vec<_> = (0..4).map(|id| request(&mut exchange, id)).collect();
    let refused = request(&mut exchange, 4);
    let Outcome::Send(Frame::Response { result: Err(error), .. }) = refused else { panic!() };
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(exchange.answer(0, false));
    assert!(matches!(request(&mut exchange, 4), Outcome::Request(_)));
    assert!(exchange.answer(0, true) && exchange.answer(1, true));
    assert!(matches!(request(&mut exchange, 5), Outcome::Request(_)));
    receive(&mut exchange, Frame::Cancel { id: 2 });
    assert!(matches!(request(&mut exchange, 6), Outcome::Request(_)));
    assert!(matches!(request(&mut exchange, 7), Outcome::Send(_)));
}
