//! What people and misfortune do, and when: drawn from the seed before the
//! run, so that steps can be taken away without changing the others.

use hulynet_coordinator::registry::Placement;

use crate::random::Random;

/// How large a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Decides everything.
    pub seed: u64,
    /// Planned steps: requests and faults.
    pub steps: usize,
    /// Agents.
    pub agents: usize,
    /// Clients.
    pub clients: usize,
}

impl Settings {
    /// The usual size.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, steps: 150, agents: 3, clients: 3 }
    }

    /// How the coordinator of this run places containers.
    pub(crate) fn placement(&self) -> Placement {
        if self.seed.is_multiple_of(3) { Placement::LeastLoaded } else { Placement::RoundRobin }
    }

    /// Whether an agent is cut off before each restart of the coordinator.
    fn loses_agents_before_restarts(&self) -> bool {
        self.seed % 4 == 3
    }

    /// Whether a start is given up before each restart of the coordinator.
    fn gives_starts_up_before_restarts(&self) -> bool {
        self.seed % 4 == 1
    }

    /// Whether agents reconnect while connections end.
    fn reconnects_at_ends(&self) -> bool {
        self.seed % 4 == 2
    }

    /// Whether the agents of this run offer a singleton.
    pub(crate) fn has_singleton(&self) -> bool {
        self.seed.is_multiple_of(2)
    }
}

/// One planned step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, in microseconds.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What is done. Numbers name agents, clients or containers, modulo how many
/// there are; times are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant says itself what is done, to whom and for how long")]
pub enum What {
    Get { client: usize, uuid: u64 },
    GetWrongKind { client: usize, uuid: u64 },
    GetLabel { client: usize, label: u64 },
    GetAny { client: usize },
    GetNear { client: usize, uuid: u64, near: bool },
    GetSelected { client: usize, label: u64 },
    DropAndGet { client: usize, which: u64 },
    Drop { client: usize, which: u64 },
    Request { client: usize, which: u64 },
    Terminate { client: usize, uuid: u64, force: bool },
    Watch { client: usize },
    Connect { client: usize, which: u64 },
    Disconnect { client: usize, which: u64 },
    Broadcast { agent: usize },
    CrashAgent { agent: usize, down: u64, same_name: bool },
    CrashClient { client: usize, down: u64 },
    RestartCoordinator { down: u64 },
    Cut { peer: usize, up: bool, down: bool, time: u64 },
    CutLink { client: usize, agent: usize, up: bool, down: bool, time: u64 },
    Isolate { peer: usize, time: u64 },
    Reset { peer: usize },
    ResetLink { client: usize, agent: usize },
    Pause { peer: usize, time: u64 },
    PauseCoordinator { time: u64 },
    FailStarts { agent: usize, how: u64, time: u64 },
    Slow { peer: usize, time: u64 },
    SlowStarts { agent: usize, time: u64 },
    NotYet { agent: usize, time: u64 },
    EndContainer { agent: usize, which: u64 },
}

/// Longer than a lease, and than what follows its end takes.
const BEFORE_RESTARTS: u64 = 4_500_000;

/// Time enough to start a container elsewhere.
const GIVEN_UP: u64 = 150_000;

/// Time enough to know that an agent lost its connection, and not to have made
/// it again.
const RECONNECTING: u64 = 20_000;

/// How many names there are for containers.
pub const UUIDS: u64 = 5;

/// The plan of a seed.
#[must_use]
pub fn plan(settings: &Settings) -> Vec<Step> {
    let mut random = Random::new(settings.seed);
    let mut at = 500_000;
    let mut steps = Vec::with_capacity(settings.steps);
    // Some seeds are calm, some are rough.
    let faults = match random.below(4) {
        0 => 0,
        1 => 10,
        2 => 25,
        _ => 40,
    };
    let young = random.chance(20);
    if !young {
        at += 3_500_000;
    }
    for _ in 0..settings.steps {
        let calm = random.below(10);
        at += if calm < 7 { random.below(150_000) } else { random.below(1_500_000) };
        let what = if random.chance(faults) {
            fault(&mut random, settings)
        } else {
            request(&mut random, settings)
        };
        if settings.loses_agents_before_restarts()
            && let What::RestartCoordinator { down } = what
        {
            // It ends as the coordinator does, which has given away by then
            // what the agent runs.
            let peer = down as usize % settings.agents;
            let cut = What::Cut { peer, up: true, down: true, time: BEFORE_RESTARTS };
            steps.push(Step { at: at.saturating_sub(BEFORE_RESTARTS), what: cut });
        }
        before(&mut steps, settings, at, &what);
        steps.push(Step { at, what });
    }
    steps
}

/// What makes a misfortune worse, in some seeds: it needs a coincidence that
/// would hardly ever happen by itself.
fn before(steps: &mut Vec<Step>, settings: &Settings, at: u64, what: &What) {
    match *what {
        // The order is carried out and its answer lost; another agent starts
        // the container before the coordinator ends.
        What::RestartCoordinator { down } if settings.gives_starts_up_before_restarts() => {
            let client = down as usize % settings.clients;
            let start = at.saturating_sub(GIVEN_UP);
            for uuid in [down % UUIDS, (down + 1) % UUIDS] {
                steps.push(Step { at: start, what: What::Get { client, uuid } });
            }
            // The one that is left starts it elsewhere.
            let left = down as usize % settings.agents;
            for peer in (0..settings.agents).filter(|peer| *peer != left) {
                steps.push(Step { at: start + 8_000, what: What::Reset { peer } });
            }
        }
        What::Disconnect { which, .. } if settings.reconnects_at_ends() => {
            let peer = which as usize % settings.agents;
            steps.push(Step { at: at.saturating_sub(RECONNECTING), what: What::Reset { peer } });
        }
        _ => {}
    }
}

fn request(random: &mut Random, settings: &Settings) -> What {
    let client = random.below(settings.clients as u64) as usize;
    let uuid = random.below(UUIDS);
    match random.below(135) {
        0..22 => What::Get { client, uuid },
        22..25 => What::GetNear { client, uuid, near: random.chance(50) },
        25..35 => What::DropAndGet { client, which: random.next() },
        35..37 => What::GetWrongKind { client, uuid },
        37..41 => What::GetLabel { client, label: random.below(2) },
        41..44 => What::GetSelected { client, label: random.below(2) },
        44..48 => What::GetAny { client },
        48..68 => What::Drop { client, which: random.next() },
        68..90 => What::Request { client, which: random.next() },
        90..95 => What::Terminate { client, uuid, force: random.chance(50) },
        95..100 => What::Watch { client },
        100..112 => What::Connect { client, which: random.next() },
        112..117 => What::Disconnect { client, which: random.next() },
        117..122 => What::Terminate { client, uuid, force: random.chance(50) },
        _ => What::Broadcast { agent: random.below(settings.agents as u64) as usize },
    }
}

fn fault(random: &mut Random, settings: &Settings) -> What {
    let agent = random.below(settings.agents as u64) as usize;
    let client = random.below(settings.clients as u64) as usize;
    let peer = random.below((settings.agents + settings.clients) as u64) as usize;
    let time = match random.below(3) {
        0 => random.between(50_000, 800_000),
        1 => random.between(800_000, 3_000_000),
        _ => random.between(2_000_000, 7_000_000),
    };
    match random.below(120) {
        0..14 => What::CrashAgent { agent, down: time, same_name: random.chance(50) },
        14..20 => What::CrashClient { client, down: time },
        20..27 => What::RestartCoordinator { down: time.min(1_500_000) },
        27..47 => {
            let way = random.below(3);
            What::Cut { peer, up: way != 0, down: way != 1, time }
        }
        47..61 => What::Reset { peer },
        61..71 => What::Pause { peer, time },
        71..74 => What::PauseCoordinator { time: time.min(1_500_000) },
        74..83 => What::FailStarts { agent, how: random.below(3), time },
        83..86 => What::Slow { peer, time },
        86..89 => What::SlowStarts { agent, time },
        89..93 => What::NotYet { agent, time },
        93..100 => What::EndContainer { agent, which: random.next() },
        100..107 => {
            let way = random.below(3);
            What::CutLink { client, agent, up: way != 0, down: way != 1, time }
        }
        107..109 => What::Isolate { peer, time },
        109..115 => What::RestartCoordinator { down: time.min(1_500_000) },
        _ => What::ResetLink { client, agent },
    }
}
