//! The layout of every frame, byte for byte, as `layout.txt` has it: peers of
//! one version must understand one another, whatever build they are of.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::{collections::BTreeMap, env, fmt::Write, fs, path::Path};

use hulynet_protocol::{
    AccountId, Activation, AgentId, AgentRecord, Amount, Call, Caller, Change, ClientId,
    ConnectionId, ContainerCall, ContainerId, ContainerRecord, ContainerState, Endpoint, Epoch,
    ErrorKind, Event, Explanation, Flow, Frame, GetOptions, Hello, Intake, Kind, KindReport,
    KindState, Labels, LimitRecord, LimitUnit, Load, NetworkError, NetworkEvent, Phase, Policy,
    Reason, Registered, Registration, Reply, Retry, Role, Selector, ServerId, Snapshot,
    StartContainer, StartFailure, Target, Uuid, Welcome, frame::VERSION,
};

/// Set to write the layout down: after a new version, or what is new in one.
const WRITE: &str = "HULYNET_WRITE_LAYOUT";

#[test]
fn the_layout_of_a_version_never_changes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout.txt");
    let known = fs::read_to_string(&file).unwrap_or_default();
    let now = written_down();
    if known == now {
        return;
    }
    let version = format!("version {VERSION}");
    let changed: Vec<_> = if known.starts_with(&format!("{version}\n")) {
        let now = by_name(&now);
        let differs = |(name, bytes): &(&str, &str)| now.get(name) != Some(bytes);
        by_name(&known).into_iter().filter(differs).map(|(name, _)| name).collect()
    } else {
        Vec::new()
    };
    assert!(
        changed.is_empty(),
        "{version} of the protocol has another layout of {changed:?}: peers of this build and of \
         others would misunderstand one another. Change it back, or count VERSION up and write \
         the new layout down with {WRITE}=1"
    );
    assert!(
        env::var_os(WRITE).is_some(),
        "the layout of {version} is not written down whole; do it with {WRITE}=1"
    );
    fs::write(&file, now).unwrap();
}

fn by_name(text: &str) -> BTreeMap<&str, &str> {
    text.lines().map(|line| line.rsplit_once(' ').unwrap()).collect()
}

fn written_down() -> String {
    let mut text = format!("version {VERSION}\n");
    for (name, frame) in frames() {
        let hex = frame.encode().unwrap().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(text, "{name} {hex}").unwrap();
    }
    assert_eq!(by_name(&text).len(), text.lines().count(), "each name stands once");
    text
}

fn frames() -> Vec<(String, Frame)> {
    let request = |call| Frame::Request { id: 1, acknowledged: 2, deadline_ms: 70_000, call };
    let answer = |result| Frame::Response { id: 300, result };
    let mut all = vec![
        ("welcome".to_owned(), welcome()),
        ("ask-hello".to_owned(), Frame::AskHello),
        ("ping".to_owned(), Frame::Ping { acknowledged: 300 }),
        ("pong".to_owned(), Frame::Pong { acknowledged: 300 }),
        ("chunk".to_owned(), Frame::Chunk { id: 300, end: None }),
        ("last chunk".to_owned(), Frame::Chunk { id: 300, end: Some(Ok(())) }),
        ("broken chunk".to_owned(), Frame::Chunk { id: 300, end: Some(Err(refusal())) }),
        ("credit".to_owned(), Frame::Credit { id: 300, chunks: 4 }),
        ("cancel".to_owned(), Frame::Cancel { id: 300 }),
        ("close".to_owned(), Frame::Close),
        ("closed".to_owned(), Frame::Closed),
        ("challenge".to_owned(), Frame::Challenge([3; 16])),
        ("refused".to_owned(), Frame::Refused(refusal())),
        ("failure".to_owned(), answer(Err(refusal()))),
    ];
    for role in [Role::Client, Role::Agent, Role::Coordinator] {
        all.push((format!("hello {role:?}"), hello(role)));
    }
    all.extend(calls().map(|(name, call)| (format!("call {name}"), request(call))));
    all.extend(replies().map(|(name, reply)| (format!("reply {name}"), answer(Ok(reply)))));
    all.extend(events().map(|(name, event)| (format!("event {name}"), Frame::Event(event))));
    all.extend(words().map(|(name, reply)| (format!("word {name}"), answer(reply))));
    all
}

fn hello(role: Role) -> Frame {
    let client = ClientId::new("client").unwrap();
    let (version, features, run, alive_timeout_ms) = (300, 1 << 40, 301, 3000);
    let (nonce, proof) = (Some([1; 16]), Some([2; 32]));
    Frame::Hello(Hello { version, features, client, run, role, alive_timeout_ms, nonce, proof })
}

fn welcome() -> Frame {
    let server = ServerId::new("server").unwrap();
    let (version, features, session) = (300, 1 << 40, 301);
    Frame::Welcome(Welcome {
        version,
        features,
        server,
        resumed: true,
        session,
        proof: Some([4; 32]),
    })
}

fn calls() -> impl Iterator<Item = (&'static str, Call)> {
    let target = || Target { id: id("t"), epoch: Some(epoch()) };
    let caller = || Caller { account: Some(account()), path: vec![id("caller")] };
    let connection = || ConnectionId::new("connection").unwrap();
    let connect = || {
        let flow = Flow { policy: Policy::DropOldest, heard: amount(299), credit: Amount::ENDLESS };
        Call::Connect { target: target(), connection: connection(), caller: caller(), flow }
    };
    let list = Call::List { kind: Some(kind("k")), select: select() };
    let container = ContainerCall {
        target: target(),
        operation: "operation".into(),
        caller: caller(),
        idempotency: Some("once".into()),
        trace: 1 << 100,
        send: true,
    };
    [
        ("register", Call::Register(registration())),
        ("unregister", Call::Unregister(agent())),
        (
            "ended",
            Call::Ended { agent: agent(), containers: vec![(id("e"), epoch())], load: load() },
        ),
        ("get", Call::Get { kind: kind("k"), options: options() }),
        ("reclaim", Call::Reclaim { id: id("r"), epoch: epoch(), options: GetOptions::default() }),
        ("release", Call::Release(id("r"))),
        ("agents", Call::Agents),
        ("kinds", Call::Kinds),
        ("list", list),
        ("explain", Call::Explain(uuid("x"))),
        ("watch", Call::Watch),
        ("unwatch", Call::Unwatch),
        (
            "start",
            Call::Start(StartContainer {
                id: id("s"),
                epoch: epoch(),
                labels: labels("s"),
                extra: vec![1, 255],
            }),
        ),
        ("terminate", Call::Terminate { target: target(), force: true }),
        ("container", Call::Container(container)),
        ("connect", connect()),
        ("credit", Call::Credit { connection: connection(), credit: amount(300) }),
        ("disconnect", Call::Disconnect { connection: connection() }),
        ("disconnected", Call::Disconnected { connection: connection(), error: Some(refusal()) }),
        ("drain", Call::Drain { agent: agent(), drain: true }),
        ("report-kinds", Call::ReportKinds),
        ("limits", Call::Limits(target())),
        (
            "nested",
            Call::Connect {
                target: target(),
                connection: connection(),
                caller: Caller { account: None, path: vec![id("first"), id("second")] },
                flow: Flow::endless(Policy::Disconnect),
            },
        ),
    ]
    .into_iter()
}

fn amount(events: u64) -> Amount {
    Amount { events, bytes: 70_000 }
}

fn replies() -> impl Iterator<Item = (&'static str, Reply)> {
    let registered =
        Registered { terminate: vec![(id("t"), epoch())], lease_ms: 3000, doubt_ms: 302 };
    let snapshot = Snapshot { revision: 300, agents: vec![record()], containers: vec![] };
    [
        ("done", Reply::Done),
        ("registered", Reply::Registered(registered)),
        ("container", Reply::Container(container(ContainerState::Running))),
        ("agents", Reply::Agents(vec![record()])),
        ("kinds", Reply::Kinds(vec![kind("a"), kind("b")])),
        ("containers", Reply::Containers(vec![container(ContainerState::Starting)])),
        ("explanation", explanation(Phase::Running, Reason::Turn)),
        ("snapshot", Reply::Snapshot(snapshot)),
        ("terminated", Reply::Terminated(true)),
        ("payload", Reply::Payload),
        ("stream", Reply::Stream),
        ("load", Reply::Load(load())),
        ("agent", Reply::Agent(record())),
        ("kind-reports", kind_report(KindState::Serving)),
        ("limits", limits(LimitUnit::Count)),
    ]
    .into_iter()
}

fn events() -> impl Iterator<Item = (&'static str, Event)> {
    let network = |change| Event::Network(vec![NetworkEvent { since: 299, revision: 300, change }]);
    let connection = ConnectionId::new("connection").unwrap();
    let running = || container(ContainerState::Running);
    [
        ("agent added", network(Change::AgentAdded(record()))),
        ("agent updated", network(Change::AgentUpdated(record()))),
        ("agent removed", network(Change::AgentRemoved(agent()))),
        ("container added", network(Change::ContainerAdded(running()))),
        ("container updated", network(Change::ContainerUpdated(running()))),
        ("container removed", network(Change::ContainerRemoved { id: id("r"), epoch: epoch() })),
        ("container", Event::single(connection.clone(), epoch())),
        (
            "containers",
            Event::Container {
                connections: vec![connection.clone(), connection],
                epoch: epoch(),
                missed: 301,
                lengths: vec![1, 300],
            },
        ),
    ]
    .into_iter()
}

/// Every value of what has few of them.
fn words() -> impl Iterator<Item = (String, Result<Reply, NetworkError>)> {
    let kinds = [
        ErrorKind::UnknownKind,
        ErrorKind::UnknownContainer,
        ErrorKind::UnknownOperation,
        ErrorKind::InvalidArguments,
        ErrorKind::PermissionDenied,
        ErrorKind::Application,
        ErrorKind::StartFailed,
        ErrorKind::ContainerEnded,
        ErrorKind::StaleEpoch,
        ErrorKind::Busy,
        ErrorKind::TooLarge,
        ErrorKind::DeadlineExceeded,
        ErrorKind::Cancelled,
        ErrorKind::Unavailable,
        ErrorKind::Protocol,
        ErrorKind::Internal,
    ]
    .map(|kind| (format!("{kind:?}"), Err(NetworkError::refused(kind, ""))));
    let retries = [Retry::NotProcessed, Retry::MaybeProcessed, Retry::Final]
        .map(|retry| (format!("{retry:?}"), Err(NetworkError::new(ErrorKind::Busy, retry, ""))));
    let states = [ContainerState::Starting, ContainerState::Running, ContainerState::Terminating]
        .map(|state| (format!("{state:?}"), Ok(Reply::Container(container(state)))));
    let intakes = [Intake::Open, Intake::Full, Intake::Draining]
        .map(|intake| (format!("{intake:?}"), Ok(Reply::Load(Load { used: 0, intake }))));
    let phases = [
        Phase::Vacant,
        Phase::Recovering,
        Phase::Starting,
        Phase::Running,
        Phase::Ending,
        Phase::Draining,
    ]
    .map(|phase| (format!("phase {phase:?}"), Ok(explanation(phase, Reason::Turn))));
    let reasons = [
        Reason::NotPlaced,
        Reason::Turn,
        Reason::LeastLoaded,
        Reason::Shared,
        Reason::Offered,
        Reason::Brought,
    ]
    .map(|reason| (format!("reason {reason:?}"), Ok(explanation(Phase::Running, reason))));
    let kind_states = [
        KindState::Loading,
        KindState::Serving,
        KindState::Refused,
        KindState::RolledBack,
        KindState::Quarantined,
        KindState::Draining,
    ]
    .map(|state| (format!("kind {state:?}"), Ok(kind_report(state))));
    let units = [
        LimitUnit::Count,
        LimitUnit::PerSecond,
        LimitUnit::Bytes,
        LimitUnit::BytesPerSecond,
        LimitUnit::Milliseconds,
    ]
    .map(|unit| (format!("unit {unit:?}"), Ok(limits(unit))));
    let words = [kinds.to_vec(), retries.to_vec(), states.to_vec(), intakes.to_vec()];
    let words = words.into_iter().flatten().chain(phases).chain(reasons);
    words.chain(kind_states).chain(units)
}

fn limits(unit: LimitUnit) -> Reply {
    let (name, allowed, used) = ("mailbox".to_owned(), 300, Some(3));
    Reply::Limits(vec![LimitRecord { name, allowed, used, unit }])
}

fn kind_report(state: KindState) -> Reply {
    Reply::KindReports(vec![KindReport {
        kind: kind("k"),
        state,
        reason: Some("reason".into()),
        hash: Some("hash".into()),
        version: Some("version".into()),
        description: None,
        signer: Some("signer".into()),
        asked: "asked".into(),
        granted: "granted".into(),
        concurrency: "concurrent".into(),
        termination: "ask".into(),
        limits: vec![("memory".into(), "1MiB".into())],
        containers: 300,
        newest: 299,
    }])
}

fn kind(text: &str) -> Kind {
    Kind::new(text).unwrap()
}

fn uuid(text: &str) -> Uuid {
    Uuid::new(text).unwrap()
}

fn id(text: &str) -> ContainerId {
    ContainerId { kind: kind("kind"), uuid: uuid(text) }
}

fn agent() -> AgentId {
    AgentId::new("agent").unwrap()
}

fn account() -> AccountId {
    AccountId::new("ann").unwrap()
}

fn epoch() -> Epoch {
    Epoch { term: 1 << 40, counter: 7 }
}

fn labels(value: &str) -> Labels {
    Labels::from([("label".into(), value.into())])
}

fn load() -> Load {
    Load { used: 500_000, intake: Intake::Full }
}

fn endpoint() -> Endpoint {
    Endpoint { agent: agent(), address: Some("127.0.0.1:1".into()) }
}

fn refusal() -> NetworkError {
    NetworkError::refused(ErrorKind::Application, "no")
}

fn select() -> Selector {
    "a in (1,2), b notin (3), c, !d".parse().unwrap()
}

fn options() -> GetOptions {
    GetOptions {
        uuid: Some(uuid("o")),
        labels: labels("is"),
        select: select(),
        extra: vec![0, 128],
        near: labels("near"),
        avoid: labels("avoid"),
    }
}

fn registration() -> Registration {
    let activation = Activation { id: id("a"), epoch: epoch(), labels: labels("a") };
    Registration {
        endpoint: endpoint(),
        kinds: vec![kind("k")],
        labels: labels("agent"),
        containers: vec![activation.clone()],
        doubtful: vec![activation],
        load: load(),
        offers: vec![id("offer")],
    }
}

fn failure() -> StartFailure {
    let (id, agent, error) = (id("f"), agent(), refusal());
    StartFailure { id, agent, error, ago_ms: 300, failures: 2, spared_ms: 400 }
}

fn record() -> AgentRecord {
    AgentRecord {
        endpoint: endpoint(),
        kinds: vec![kind("k")],
        containers: 300,
        labels: labels("agent"),
        load: load(),
        failing: vec![failure()],
    }
}

fn container(state: ContainerState) -> ContainerRecord {
    let (id, endpoint, epoch, labels) = (id("c"), endpoint(), epoch(), labels("c"));
    ContainerRecord { id, endpoint, epoch, state, labels, holders: 300 }
}

fn explanation(phase: Phase, reason: Reason) -> Reply {
    let client = |name: &str| vec![ClientId::new(name).unwrap()];
    Reply::Explanation(Box::new(Explanation {
        id: id("x"),
        labels: labels("x"),
        phase,
        endpoint: Some(endpoint()),
        reason,
        epoch: epoch(),
        since_ms: 300,
        holders: client("holder"),
        holder_count: 301,
        waiting: client("waiting"),
        ending: client("ending"),
        next_ms: Some(302),
        offered_by: vec![agent()],
        failures: 3,
        last_failure: Some(failure()),
    }))
}
