//! The vocabulary of the network: ids, records, events, errors and the frames
//! that carry them.
//!
//! Pure: no IO, no clock, no randomness but the making of new ids. Everything
//! that crosses a socket is defined here, with its limits, so that the
//! coordinator, agents and clients cannot disagree about a byte.
//!
//! | module | what it holds |
//! |---|---|
//! | [`id`] | validated names: kinds, containers, agents, clients |
//! | [`epoch`] | the fencing number of an activation |
//! | [`record`] | what the registry tells about agents and containers |
//! | [`report`] | what agents tell about their kinds |
//! | [`event`] | changes of the registry, in order of revision |
//! | [`error`] | the one error that crosses the wire, with its retry class |
//! | [`call`] | requests and replies between peers |
//! | [`flow`] | credit for events, and several events in one message |
//! | [`ledger`] | events that wait for credit |
//! | [`selector`] | conditions on labels |
//! | [`tenant`] | for whom a container works |
//! | [`load`] | what an agent can still take |
//! | [`explanation`] | everything about one container, for operators |
//! | [`frame`] | the frames of the native bus and their codec |
//! | [`limits`] | sizes that no peer may exceed |

pub mod call;
pub mod epoch;
pub mod error;
pub mod event;
pub mod explanation;
pub mod flow;
pub mod frame;
pub mod id;
pub mod ledger;
pub mod limits;
pub mod load;
pub mod record;
pub mod report;
pub mod selector;
pub mod tenant;

pub use call::{
    Activation, Call, Caller, ContainerCall, Event, GetOptions, PeerId, Registered, Registration,
    Reply, StartContainer, Target,
};
pub use epoch::Epoch;
pub use error::{ErrorKind, NetworkError, Retry};
pub use event::{Change, NetworkEvent, Snapshot};
pub use explanation::{Explanation, LimitRecord, LimitUnit, Phase, Reason, StartFailure};
pub use flow::{Amount, Flow, Policy, PolicyError};
pub use frame::{Frame, FrameError, Hello, Role, Welcome};
pub use id::{
    AccountId, AgentId, ClientId, ConnectionId, ContainerId, IdError, Kind, ServerId, Uuid,
    WorkspaceId,
};
pub use load::{Intake, Load};
pub use record::{AgentRecord, ContainerRecord, ContainerState, Endpoint, Labels};
pub use report::{KindReport, KindState};
pub use selector::{Condition, Requirement, Selector, SelectorError};
pub use tenant::{
    ACCOUNT, OWNERS, TENANT, WORKSPACE, is_of_another, started_for, tenant_among, tenant_of,
};
