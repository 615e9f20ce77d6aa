//! Kinds that send events without end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hulynet_bus::{Peer, PeerConfig, PeerEvent};
use hulynet_protocol::{
    Amount, Call, Caller, ClientId, ConnectionId, ContainerId, ErrorKind, Event, Flow,
    NetworkError, Policy, Reply, Role, Target,
};
use tokio::sync::mpsc;

use crate::{
    stage::{Stage, both, id},
    support::{self, PATIENCE, split},
};

/// Events a second; at once a container may send ten times as many, which is
/// more than may wait for one client.
const RATE: u64 = 1_000;

/// A client of the agent that is connected to one container.
struct Listener {
    client: Peer,
    heard: mpsc::Receiver<PeerEvent>,
}

/// What one heard, missed and was told at the end.
struct Heard {
    events: u64,
    missed: u64,
    end: Option<NetworkError>,
}

impl Listener {
    async fn connect(stage: &Stage, id: ContainerId, flow: Flow) -> Self {
        let config = PeerConfig::new(ClientId::random(), Role::Client);
        let address = stage.world.agent.local_addr().to_string();
        let (client, heard) = stage.world.bus.connect(&address, config);
        let target = Target { id, epoch: None };
        let connection = ConnectionId::random();
        let call = Call::Connect { target, connection, caller: Caller::default(), flow };
        client.call(call, Bytes::new(), PATIENCE).await.unwrap();
        Self { client, heard }
    }

    async fn next(&mut self) -> PeerEvent {
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
            match heard.expect("in time").expect("it is connected") {
                PeerEvent::Joined { .. } => {}
                other => return other,
            }
        }
    }

    /// The next events, of which none may be missing.
    async fn events(&mut self) -> Vec<Bytes> {
        match self.next().await {
            PeerEvent::Event { event, payload } => {
                assert!(matches!(event, Event::Container { missed: 0, .. }), "{event:?}");
                split(&event, &payload)
            }
            other => panic!("expected events, heard {other:?}"),
        }
    }

    /// Listens until the connection ends.
    async fn all(mut self) -> Heard {
        let (mut events, mut missed) = (0, 0);
        loop {
            match self.next().await {
                PeerEvent::Event { event, payload } => {
                    events += split(&event, &payload).len() as u64;
                    let Event::Container { missed: more, .. } = event else {
                        panic!("expected events of a container, heard {event:?}")
                    };
                    missed += more;
                }
                PeerEvent::Request(request) => {
                    let Call::Disconnected { error, .. } = &request.call else {
                        panic!("expected the end, was asked {request:?}")
                    };
                    let end = error.clone();
                    request.responder.reply(Ok((Reply::Done, Bytes::new())));
                    drop(self.client);
                    return Heard { events, missed, end };
                }
                other => panic!("expected events or the end, heard {other:?}"),
            }
        }
    }
}

/// One that never takes an event.
fn deaf(policy: Policy) -> Flow {
    Flow { policy, heard: Amount::default(), credit: Amount::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_events_goes_at_its_rate_and_costs_only_those_who_do_not_listen() {
    let stage = Stage::new(|config| {
        config.limits.compute = Duration::from_millis(300);
        config.limits.events = usize::try_from(RATE).unwrap();
    })
    .await;
    for attack in both("event-flood") {
        let begun = Instant::now();
        stage.start(&attack).await.unwrap();
        let listener = async |flow| Listener::connect(&stage, id(&attack, &attack), flow).await;
        let (reads, newest, every) = tokio::join!(
            listener(Flow::endless(Policy::DropOldest)),
            listener(deaf(Policy::DropOldest)),
            listener(deaf(Policy::Disconnect)),
        );
        let healthy = support::id("healthy");
        let mut hears = Listener::connect(&stage, healthy, Flow::endless(Policy::Disconnect)).await;
        assert_eq!(hears.events().await, ["\"welcome\""]);
        let hearing = async {
            for number in 0_u64.. {
                let number = number.to_string();
                stage.world.request("healthy", "broadcast", &number).await.unwrap();
                assert_eq!(hears.events().await, [number]);
            }
        };
        let flood = async {
            tokio::join!(
                stage.ask(&attack, &attack, "attack", ""),
                reads.all(),
                newest.all(),
                every.all()
            )
        };
        let flooded = async {
            tokio::select! {
                flooded = flood => flooded,
                () = hearing => unreachable!("it goes on for ever"),
            }
        };
        let (answer, reads, newest, every) = stage.beside(Box::pin(flooded)).await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ContainerEnded, "{attack}: {error}");
        assert!(error.message.contains("without a pause"), "{attack}: {error}");

        let allowed = RATE * (10 + begun.elapsed().as_secs() + 1);
        let sent = reads.events + reads.missed;
        assert!(reads.events > 0 && sent <= allowed, "{attack}: {sent} of {allowed}");
        assert_eq!(reads.end, None, "{attack}: it is connected until the container ends");
        // For both there were more than may wait: the one loses the oldest.
        assert_eq!((newest.events, newest.missed, newest.end), (0, 0, None), "{attack}");
        assert_eq!((every.events, every.missed), (0, 0), "{attack}");
        let end = every.end.unwrap();
        assert_eq!(end.kind, ErrorKind::Busy, "{attack}: {end}");
        assert!(end.message.contains("read them faster"), "{attack}: {end}");
    }
}
