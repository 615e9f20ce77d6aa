use std::task::Wake;

use super::*;

#[derive(Default)]
struct Reader(AtomicUsize);

impl Wake for Reader {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn mailbox(limits: ContainerLimits) -> (Arc<Mailbox>, Inbox) {
    let mailbox = Arc::new(Mailbox::new(&limits));
    (mailbox.clone(), Inbox::new(mailbox, Letters::default()))
}

fn of_one_each() -> (Arc<Mailbox>, Inbox) {
    let limits = ContainerLimits::default();
    mailbox(ContainerLimits { mailbox: 1, mailbox_bytes: 10, connections: 1, ..limits })
}

fn id(name: &str) -> ConnectionId {
    ConnectionId::new(name).unwrap()
}

fn order() -> (Order, oneshot::Receiver<bool>) {
    let (reply, answer) = oneshot::channel();
    (Order { force: false, reply }, answer)
}

fn connect(name: &str) -> Box<Message> {
    let (caller, deadline) = (Caller { account: None, path: Vec::new() }, Instant::now());
    let (reply, _) = oneshot::channel();
    Box::new(Message::Connect { connection: id(name), caller, deadline, reply })
}

/// In one word, what a container that has room, or has none, gets next.
fn next(inbox: &mut Inbox, room: bool) -> String {
    let mut cx = Context::from_waker(Waker::noop());
    match inbox.poll(room, &mut cx) {
        Poll::Ready(Letter::Terminate(_)) => "terminate".to_owned(),
        Poll::Ready(Letter::Disconnect(client)) => format!("disconnect {client}"),
        Poll::Ready(Letter::Ping) => "ping".to_owned(),
        Poll::Ready(Letter::Message(message)) => match *message {
            Message::Connect { connection, .. } => format!("connect {connection}"),
            Message::Request { .. } => "request".to_owned(),
        },
        Poll::Ready(Letter::Abandoned) => "abandoned".to_owned(),
        Poll::Pending => "nothing".to_owned(),
    }
}

#[test]
fn orders_come_first_then_farewells_pings_and_messages_and_then_the_end() {
    let (mailbox, mut inbox) = of_one_each();
    mailbox.abandon();
    mailbox.put(connect("a")).ok().unwrap();
    mailbox.ping();
    mailbox.farewell().unwrap().say(id("b"));
    let (order, _answer) = order();
    mailbox.order(order).unwrap();
    let all: Vec<_> = (0..5).map(|_| next(&mut inbox, true)).collect();
    assert_eq!(all, ["terminate", "disconnect b", "ping", "connect a", "abandoned"]);
}

#[test]
fn a_container_without_room_gets_orders_and_pings_only() {
    let (mailbox, mut inbox) = of_one_each();
    mailbox.put(connect("a")).ok().unwrap();
    mailbox.farewell().unwrap().say(id("b"));
    mailbox.ping();
    assert_eq!(next(&mut inbox, false), "ping");
    assert_eq!(next(&mut inbox, false), "nothing");
    assert_eq!(next(&mut inbox, true), "disconnect b");
}

#[test]
fn what_comes_wakes_the_reader_once_it_found_nothing() {
    let (mailbox, mut inbox) = of_one_each();
    let reader = Arc::new(Reader::default());
    let waker = Waker::from(reader.clone());
    let mut cx = Context::from_waker(&waker);
    let (order, _answer) = order();
    let farewell = mailbox.farewell().unwrap();
    let comes: [Box<dyn FnOnce()>; 4] = [
        Box::new(|| mailbox.ping()),
        Box::new(|| mailbox.order(order).unwrap()),
        Box::new(|| farewell.say(id("b"))),
        Box::new(|| mailbox.put(connect("a")).ok().unwrap()),
    ];
    for (number, come) in (1..).zip(comes) {
        assert!(inbox.poll(true, &mut cx).is_pending());
        come();
        assert_eq!(reader.0.load(Ordering::SeqCst), number);
        assert!(inbox.poll(true, &mut cx).is_ready());
    }
}

#[test]
fn each_sort_has_its_bound() {
    let (mailbox, mut inbox) = of_one_each();
    mailbox.put(connect("a")).ok().unwrap();
    assert_eq!(mailbox.put(connect("b")).err().unwrap().0, Refused::Full);
    assert_eq!(mailbox.used().0, 1);
    let orders: Vec<_> = (0..=ORDERS).map(|_| mailbox.order(order().0)).collect();
    assert!(orders[..ORDERS].iter().all(Result::is_ok));
    assert_eq!(orders[ORDERS], Err(Refused::Full));
    // A farewell takes its place until it is heard.
    mailbox.farewell().unwrap().say(id("a"));
    assert!(mailbox.farewell().is_none());
    while next(&mut inbox, true) != "disconnect a" {
        // Each is taken in a run of its own.
        inbox.letters.begin(1);
    }
    let place = mailbox.farewell().unwrap();
    assert!(mailbox.farewell().is_none());
    drop(place);
    assert!(mailbox.farewell().is_some());
}

#[test]
fn requests_have_so_many_bytes_together_until_they_are_done() {
    let (mailbox, _inbox) = of_one_each();
    let first = mailbox.weigh(6).unwrap();
    assert!(mailbox.weigh(5).is_none());
    let second = mailbox.weigh(4).unwrap();
    assert_eq!(mailbox.used().1, 10);
    drop(first);
    assert!(mailbox.weigh(usize::MAX).is_none());
    assert_eq!(mailbox.used().1, 4);
    drop(second);
    assert_eq!(mailbox.used().1, 0);
}

#[test]
fn a_closed_one_takes_nothing_and_gives_back_its_messages() {
    let (mailbox, mut inbox) = of_one_each();
    let (first, mut answer) = order();
    mailbox.order(first).unwrap();
    mailbox.put(connect("a")).ok().unwrap();
    let place = mailbox.farewell().unwrap();
    assert_eq!(inbox.close().len(), 1);
    assert!(answer.try_recv().is_err(), "nobody carries the order out");
    assert_eq!(mailbox.order(order().0), Err(Refused::Closed));
    assert_eq!(mailbox.put(connect("a")).err().unwrap().0, Refused::Closed);
    assert!(mailbox.farewell().is_none());
    place.say(id("a"));
    assert_eq!(next(&mut inbox, true), "nothing");
    drop(inbox);
    assert_eq!(mailbox.used().0, 0);
}

#[tokio::test]
async fn a_reader_that_always_finds_something_gives_way() {
    let (mailbox, mut inbox) = of_one_each();
    let reads = std::future::poll_fn(|cx| {
        mailbox.ping();
        inbox.poll(true, cx).map(|_| ())
    });
    let mut reads = std::pin::pin!(async {
        let mut reads = reads;
        loop {
            (&mut reads).await;
        }
    });
    assert!(futures::poll!(reads.as_mut()).is_pending());
}

#[test]
fn what_a_burst_took_is_given_back() {
    let (mailbox, mut inbox) = mailbox(ContainerLimits::default());
    for number in 0..500 {
        mailbox.put(connect(&number.to_string())).ok().unwrap();
    }
    while next(&mut inbox, true) != "nothing" {
        // Each is taken in a run of its own.
        inbox.letters.begin(1);
    }
    assert!(mailbox.lock().messages.capacity() <= 2 * KEPT);
}

#[test]
fn a_container_gives_way_after_so_many_letters_until_its_next_run() {
    const MANY: usize = 100;
    const LETTERS: u32 = 7;
    let limits = ContainerLimits { mailbox: MANY, ..ContainerLimits::default() };
    let (mailbox, mut inbox) = mailbox(limits);
    let letters = inbox.letters.clone();
    letters.begin(LETTERS);
    for number in 0..MANY {
        mailbox.put(connect(&number.to_string())).ok().unwrap();
    }
    let (mut number, mut runs) = (0, 0);
    while number < MANY {
        while letters.left() > 0 && number < MANY {
            assert_eq!(next(&mut inbox, true), format!("connect {number}"));
            number += 1;
        }
        let reader = Arc::new(Reader::default());
        let waker = Waker::from(reader.clone());
        for _ in 0..2 {
            assert!(inbox.poll(true, &mut Context::from_waker(&waker)).is_pending());
        }
        let woken = reader.0.load(Ordering::SeqCst);
        assert_eq!(inbox.gives_way(), number < MANY);
        assert_eq!(woken, if number < MANY { 2 } else { 0 }, "it looks again");
        letters.begin(LETTERS);
        runs += 1;
    }
    assert_eq!(runs, MANY.div_ceil(7), "runs");
    assert_eq!(next(&mut inbox, true), "nothing");
}

#[test]
fn a_container_that_took_all_it_may_needs_no_other_run_unless_something_waits() {
    let (mailbox, mut inbox) = mailbox(ContainerLimits::default());
    let reader = Arc::new(Reader::default());
    let waker = Waker::from(reader.clone());
    let look = |inbox: &mut Inbox, room| {
        assert!(inbox.poll(room, &mut Context::from_waker(&waker)).is_pending());
        (reader.0.swap(0, Ordering::SeqCst), inbox.gives_way())
    };
    inbox.letters.begin(0);
    assert_eq!(look(&mut inbox, true), (0, false));
    mailbox.put(connect("a")).ok().unwrap();
    assert_eq!(reader.0.swap(0, Ordering::SeqCst), 1, "it is woken for it");
    assert_eq!(look(&mut inbox, true), (1, true));
    assert_eq!(look(&mut inbox, false), (0, false), "it has no room for it");
    mailbox.ping();
    assert_eq!(reader.0.swap(0, Ordering::SeqCst), 1, "it is woken for it");
    assert_eq!(look(&mut inbox, false), (1, true));
}
