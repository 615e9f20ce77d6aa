//! Any frame, and what it is made of.

use hulynet_protocol::{
    AccountId, Activation, AgentId, AgentRecord, Amount, Call, Caller, Change, ClientId, Condition,
    ConnectionId, ContainerCall, ContainerId, ContainerRecord, ContainerState, Endpoint, Epoch,
    ErrorKind, Event, Explanation, Flow, Frame, GetOptions, Hello, Intake, Kind, KindReport,
    KindState, Labels, LimitRecord, LimitUnit, Load, NetworkError, NetworkEvent, Phase, Policy,
    Reason, Registered, Registration, Reply, Requirement, Retry, Role, Selector, ServerId,
    Snapshot, StartContainer, StartFailure, Target, Uuid, Welcome,
    frame::{Nonce, Proof},
};
use proptest::{collection::vec, option, prelude::*};

/// Makes a strategy for an id of text that an id may have.
macro_rules! id {
    ($($make:ident: $id:ident),*) => {
        $(fn $make() -> impl Strategy<Value = $id> {
            "[a-zA-Z0-9:_é€🙂 -]{1,30}".prop_map(|text| $id::new(text).unwrap())
        })*
    };
}

id!(
    kind: Kind, uuid: Uuid, agent_id: AgentId, client_id: ClientId, server_id: ServerId,
    connection_id: ConnectionId, account_id: AccountId
);

fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map(".{0,10}", ".{0,10}", 0..4)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<(u64, u64)>().prop_map(|(term, counter)| Epoch { term, counter })
}

fn container_id() -> impl Strategy<Value = ContainerId> {
    (kind(), uuid()).prop_map(|(kind, uuid)| ContainerId { kind, uuid })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (agent_id(), option::of(".{0,20}")).prop_map(|(agent, address)| Endpoint { agent, address })
}

fn target() -> impl Strategy<Value = Target> {
    (container_id(), option::of(epoch())).prop_map(|(id, epoch)| Target { id, epoch })
}

fn caller() -> impl Strategy<Value = Caller> {
    (option::of(account_id()), vec(container_id(), 0..4))
        .prop_map(|(account, path)| Caller { account, path })
}

fn selector() -> impl Strategy<Value = Selector> {
    let values = || prop::collection::btree_set(".{0,5}", 0..4);
    let condition = prop_oneof![
        values().prop_map(Condition::In),
        values().prop_map(Condition::NotIn),
        Just(Condition::Present),
        Just(Condition::Absent),
    ];
    let requirement =
        (".{0,5}", condition).prop_map(|(key, condition)| Requirement { key, condition });
    vec(requirement, 0..4).prop_map(Selector)
}

fn options() -> impl Strategy<Value = GetOptions> {
    (option::of(uuid()), labels(), selector(), vec(any::<u8>(), 0..50), labels(), labels())
        .prop_map(|(uuid, labels, select, extra, near, avoid)| GetOptions {
            uuid,
            labels,
            select,
            extra,
            near,
            avoid,
        })
}

fn load() -> impl Strategy<Value = Load> {
    let intake = prop::sample::select(vec![Intake::Open, Intake::Full, Intake::Draining]);
    (any::<u32>(), intake).prop_map(|(used, intake)| Load { used, intake })
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Client, Role::Agent, Role::Coordinator])
}

fn error() -> impl Strategy<Value = NetworkError> {
    use ErrorKind as E;
    let kinds = vec![
        E::UnknownKind,
        E::UnknownContainer,
        E::UnknownOperation,
        E::InvalidArguments,
        E::PermissionDenied,
        E::Application,
        E::StartFailed,
        E::ContainerEnded,
        E::StaleEpoch,
        E::Busy,
        E::TooLarge,
        E::DeadlineExceeded,
        E::Cancelled,
        E::Unavailable,
        E::Protocol,
        E::Internal,
    ];
    let retries = vec![Retry::NotProcessed, Retry::MaybeProcessed, Retry::Final];
    (prop::sample::select(kinds), prop::sample::select(retries), ".{0,50}")
        .prop_map(|(kind, retry, message)| NetworkError { kind, retry, message })
}

fn agent_record() -> impl Strategy<Value = AgentRecord> {
    let failing = vec(start_failure(), 0..3);
    (endpoint(), vec(kind(), 0..4), any::<u64>(), labels(), load(), failing).prop_map(
        |(endpoint, kinds, containers, labels, load, failing)| AgentRecord {
            endpoint,
            kinds,
            containers,
            labels,
            load,
            failing,
        },
    )
}

fn start_failure() -> impl Strategy<Value = StartFailure> {
    (container_id(), agent_id(), error(), any::<(u64, u32, u64)>()).prop_map(
        |(id, agent, error, (ago_ms, failures, spared_ms))| StartFailure {
            id,
            agent,
            error,
            ago_ms,
            failures,
            spared_ms,
        },
    )
}

fn explanation() -> impl Strategy<Value = Explanation> {
    let phases = vec![
        Phase::Vacant,
        Phase::Recovering,
        Phase::Starting,
        Phase::Running,
        Phase::Ending,
        Phase::Draining,
    ];
    let reasons = vec![
        Reason::NotPlaced,
        Reason::Turn,
        Reason::LeastLoaded,
        Reason::Shared,
        Reason::Offered,
        Reason::Brought,
    ];
    let what = (
        container_id(),
        labels(),
        prop::sample::select(phases),
        option::of(endpoint()),
        prop::sample::select(reasons),
        epoch(),
    );
    let clients = || vec(client_id(), 0..3);
    let who = (clients(), clients(), clients(), vec(agent_id(), 0..3));
    let rest = (any::<(u64, u64, u32)>(), option::of(any::<u64>()), option::of(start_failure()));
    (what, who, rest).prop_map(
        |(
            (id, labels, phase, endpoint, reason, epoch),
            (holders, waiting, ending, offered_by),
            ((since_ms, holder_count, failures), next_ms, last_failure),
        )| Explanation {
            id,
            labels,
            phase,
            endpoint,
            reason,
            epoch,
            since_ms,
            holders,
            holder_count,
            waiting,
            ending,
            next_ms,
            offered_by,
            failures,
            last_failure,
        },
    )
}

fn container_record() -> impl Strategy<Value = ContainerRecord> {
    let states =
        vec![ContainerState::Starting, ContainerState::Running, ContainerState::Terminating];
    let state = prop::sample::select(states);
    (container_id(), endpoint(), epoch(), state, labels(), any::<u64>()).prop_map(
        |(id, endpoint, epoch, state, labels, holders)| ContainerRecord {
            id,
            endpoint,
            epoch,
            state,
            labels,
            holders,
        },
    )
}

fn network_event() -> impl Strategy<Value = NetworkEvent> {
    let change = prop_oneof![
        agent_record().prop_map(Change::AgentAdded),
        agent_record().prop_map(Change::AgentUpdated),
        agent_id().prop_map(Change::AgentRemoved),
        container_record().prop_map(Change::ContainerAdded),
        container_record().prop_map(Change::ContainerUpdated),
        (container_id(), epoch()).prop_map(|(id, epoch)| Change::ContainerRemoved { id, epoch }),
    ];
    (any::<u64>(), any::<u64>(), change).prop_map(|(since, revision, change)| NetworkEvent {
        since,
        revision,
        change,
    })
}

fn registration() -> impl Strategy<Value = Registration> {
    let containers = || {
        let activation = (container_id(), epoch(), labels())
            .prop_map(|(id, epoch, labels)| Activation { id, epoch, labels });
        vec(activation, 0..4)
    };
    let offers = vec(container_id(), 0..4);
    (endpoint(), vec(kind(), 0..4), labels(), containers(), containers(), load(), offers).prop_map(
        |(endpoint, kinds, labels, containers, doubtful, load, offers)| Registration {
            endpoint,
            kinds,
            labels,
            containers,
            doubtful,
            load,
            offers,
        },
    )
}

fn start() -> impl Strategy<Value = StartContainer> {
    (container_id(), epoch(), labels(), vec(any::<u8>(), 0..50))
        .prop_map(|(id, epoch, labels, extra)| StartContainer { id, epoch, labels, extra })
}

fn container_call() -> impl Strategy<Value = ContainerCall> {
    (target(), ".{0,20}", caller(), option::of(".{0,20}"), any::<u128>(), any::<bool>()).prop_map(
        |(target, operation, caller, idempotency, trace, send)| ContainerCall {
            target,
            operation,
            caller,
            idempotency,
            trace,
            send,
        },
    )
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        registration().prop_map(Call::Register),
        agent_id().prop_map(Call::Unregister),
        (agent_id(), vec((container_id(), epoch()), 0..4), load())
            .prop_map(|(agent, containers, load)| Call::Ended { agent, containers, load }),
        (kind(), options()).prop_map(|(kind, options)| Call::Get { kind, options }),
        (container_id(), epoch(), options()).prop_map(|(id, epoch, options)| Call::Reclaim {
            id,
            epoch,
            options
        }),
        container_id().prop_map(Call::Release),
        Just(Call::Agents),
        Just(Call::Kinds),
        (option::of(kind()), selector()).prop_map(|(kind, select)| Call::List { kind, select }),
        uuid().prop_map(Call::Explain),
        Just(Call::Watch),
        Just(Call::Unwatch),
        start().prop_map(Call::Start),
        (target(), any::<bool>()).prop_map(|(target, force)| Call::Terminate { target, force }),
        container_call().prop_map(Call::Container),
        (target(), connection_id(), caller(), flow()).prop_map(
            |(target, connection, caller, flow)| {
                Call::Connect { target, connection, caller, flow }
            }
        ),
        (connection_id(), amount())
            .prop_map(|(connection, credit)| Call::Credit { connection, credit }),
        connection_id().prop_map(|connection| Call::Disconnect { connection }),
        (connection_id(), option::of(error()))
            .prop_map(|(connection, error)| Call::Disconnected { connection, error }),
        (agent_id(), any::<bool>()).prop_map(|(agent, drain)| Call::Drain { agent, drain }),
        target().prop_map(Call::Limits),
        Just(Call::ReportKinds),
    ]
}

fn limit() -> impl Strategy<Value = LimitRecord> {
    let unit = prop_oneof![Just(LimitUnit::Bytes), Just(LimitUnit::PerSecond)];
    (".{0,20}", any::<u64>(), option::of(any::<u64>()), unit)
        .prop_map(|(name, allowed, used, unit)| LimitRecord { name, allowed, used, unit })
}

fn reply() -> impl Strategy<Value = Reply> {
    let snapshot = (any::<u64>(), vec(agent_record(), 0..3), vec(container_record(), 0..3))
        .prop_map(|(revision, agents, containers)| Snapshot { revision, agents, containers });
    let registered = (vec((container_id(), epoch()), 0..4), any::<u32>(), any::<u32>())
        .prop_map(|(terminate, lease_ms, doubt_ms)| Registered { terminate, lease_ms, doubt_ms });
    prop_oneof![
        Just(Reply::Done),
        registered.prop_map(Reply::Registered),
        container_record().prop_map(Reply::Container),
        vec(agent_record(), 0..4).prop_map(Reply::Agents),
        vec(kind(), 0..4).prop_map(Reply::Kinds),
        vec(container_record(), 0..4).prop_map(Reply::Containers),
        explanation().prop_map(|explanation| Reply::Explanation(Box::new(explanation))),
        snapshot.prop_map(Reply::Snapshot),
        any::<bool>().prop_map(Reply::Terminated),
        Just(Reply::Payload),
        Just(Reply::Stream),
        load().prop_map(Reply::Load),
        agent_record().prop_map(Reply::Agent),
        vec(limit(), 0..4).prop_map(Reply::Limits),
        vec(kind_report(), 0..3).prop_map(Reply::KindReports),
    ]
}

fn kind_report() -> impl Strategy<Value = KindReport> {
    let state = prop::sample::select(vec![
        KindState::Loading,
        KindState::Serving,
        KindState::Refused,
        KindState::RolledBack,
        KindState::Quarantined,
        KindState::Draining,
    ]);
    let told = (option::of(".*"), option::of(".*"), option::of(".*"));
    let terms = (".*", ".*", ".*", vec((".*", ".*"), 0..3));
    (kind(), state, told, terms, any::<(u64, u64)>()).prop_map(
        |(kind, state, (reason, hash, version), (asked, granted, words, limits), counts)| {
            let (concurrency, termination) = (words.clone(), words);
            let (description, signer) = (version.clone(), hash.clone());
            let (containers, newest) = counts;
            KindReport {
                kind,
                state,
                reason,
                hash,
                version,
                description,
                signer,
                asked,
                granted,
                concurrency,
                termination,
                limits,
                containers,
                newest,
            }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        vec(network_event(), 0..4).prop_map(Event::Network),
        (vec(connection_id(), 0..4), epoch(), any::<u64>(), vec(any::<u32>(), 0..4)).prop_map(
            |(connections, epoch, missed, lengths)| {
                Event::Container { connections, epoch, missed, lengths }
            }
        ),
    ]
}

fn amount() -> impl Strategy<Value = Amount> {
    any::<(u64, u64)>().prop_map(|(events, bytes)| Amount { events, bytes })
}

fn flow() -> impl Strategy<Value = Flow> {
    (prop::sample::select(&Policy::ALL[..]), amount(), amount())
        .prop_map(|(policy, heard, credit)| Flow { policy, heard, credit })
}

fn result<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Result<T, NetworkError>> {
    prop_oneof![value.prop_map(Ok), error().prop_map(Err)]
}

pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    let introduction = any::<(u16, u64, u64, u32, Option<Nonce>, Option<Proof>)>();
    let hello = (introduction, client_id(), role());
    let welcome = (any::<(u16, u64, u64, bool, Option<Proof>)>(), server_id());
    prop_oneof![
        hello.prop_map(|(introduction, client, role)| {
            let (version, features, run, alive_timeout_ms, nonce, proof) = introduction;
            Frame::Hello(Hello {
                version,
                features,
                client,
                run,
                role,
                alive_timeout_ms,
                nonce,
                proof,
            })
        }),
        welcome.prop_map(|((version, features, session, resumed, proof), server)| {
            Frame::Welcome(Welcome { version, features, server, resumed, session, proof })
        }),
        any::<Nonce>().prop_map(Frame::Challenge),
        error().prop_map(Frame::Refused),
        (any::<(u64, u64, u32)>(), call()).prop_map(|((id, acknowledged, deadline_ms), call)| {
            Frame::Request { id, acknowledged, deadline_ms, call }
        }),
        any::<u64>().prop_map(|acknowledged| Frame::Ping { acknowledged }),
        any::<u64>().prop_map(|acknowledged| Frame::Pong { acknowledged }),
        (any::<u64>(), result(reply())).prop_map(|(id, result)| Frame::Response { id, result }),
        (any::<u64>(), option::of(result(Just(())))).prop_map(|(id, end)| Frame::Chunk { id, end }),
        any::<(u64, u32)>().prop_map(|(id, chunks)| Frame::Credit { id, chunks }),
        any::<u64>().prop_map(|id| Frame::Cancel { id }),
        event().prop_map(Frame::Event),
        prop::sample::select(vec![Frame::AskHello, Frame::Close, Frame::Closed,]),
    ]
}
