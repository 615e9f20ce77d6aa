//! What the coordinator asks its peers. Orders belong to one connection.

use hulynet_coordinator::{connections::Attempt, registry::Input};
use hulynet_protocol::{
    AgentId, Call, ClientId, ConnectionId, ContainerId, Epoch, ErrorKind, NetworkError, Reply,
};

use crate::{
    link::Message,
    sessions::Answer,
    world::{Event, World},
};

/// An order in progress.
pub(crate) struct Order {
    connection: u64,
    deadline: u64,
    pub(crate) what: Ordered,
}

/// What was ordered.
#[derive(Debug)]
pub(crate) enum Ordered {
    Start {
        agent: AgentId,
        id: ContainerId,
        epoch: Epoch,
    },
    Terminate {
        agent: AgentId,
        id: ContainerId,
        epoch: Epoch,
    },
    /// A proxied connection, for the client's request of this token.
    Connect {
        token: u64,
        connection: ConnectionId,
        attempt: Attempt,
    },
    /// Its end, perhaps for a request.
    Disconnect {
        token: Option<u64>,
        agent: ClientId,
        connection: ConnectionId,
    },
    /// The news of its end.
    Tell,
}

impl Ordered {
    /// In microseconds.
    fn patience(&self) -> u64 {
        match self {
            Self::Start { .. } => 5_000_000,
            Self::Terminate { .. } => 2_000_000,
            Self::Connect { .. } | Self::Disconnect { .. } | Self::Tell => 10_000_000,
        }
    }
}

fn lost(what: &str) -> NetworkError {
    NetworkError::maybe_processed(ErrorKind::Unavailable, what)
}

impl World {
    pub(crate) fn order(&mut self, peer: &ClientId, what: Ordered, call: Call) {
        let number = self.number();
        let deadline = self.now + what.patience();
        // The table recognises these by their epoch; the window of the bus keeps
        // others from running twice.
        let recognised = matches!(what, Ordered::Start { .. } | Ordered::Terminate { .. });
        let double = recognised && self.random.chance(5);
        let Some(node) = &mut self.coordinator else { return };
        let Some(connection) = node.sessions.connection(peer) else {
            let error = NetworkError::not_processed(ErrorKind::Unavailable, "no connection");
            self.late.insert(number, (what, Box::new(Err(error))));
            return self.at(self.now + 1, Event::OrderFailed(number));
        };
        node.orders.insert(number, Order { connection, deadline, what });
        for _ in 0..=u8::from(double) {
            let message = Message::Request { id: number, call: Box::new(call.clone()) };
            self.send_down(connection, message);
        }
    }

    pub(crate) fn order_failed(&mut self, number: u64) {
        if let Some((what, result)) = self.late.remove(&number) {
            self.order_ended(what, *result);
        }
    }

    pub(crate) fn order_ended(&mut self, what: Ordered, result: Answer) {
        let input = match what {
            Ordered::Start { agent, id, epoch } => {
                Input::Started { agent, id, epoch, result: result.map(|_| ()) }
            }
            Ordered::Terminate { agent, id, epoch } => {
                let result = result.map(|reply| reply == Reply::Terminated(true));
                Input::Terminated { agent, id, epoch, result }
            }
            Ordered::Connect { token, connection, attempt } => {
                return self.proxy_connected(token, &connection, attempt, result);
            }
            Ordered::Disconnect { token, agent, connection } => {
                return self.proxy_ended(token, agent, connection, result);
            }
            Ordered::Tell => return,
        };
        self.input(input);
    }

    /// Nobody waits for the order that does what a client asked.
    pub(crate) fn cancel_order(&mut self, token: u64) -> Option<Ordered> {
        let node = self.coordinator.as_mut()?;
        let of_token = |order: &Order| match &order.what {
            Ordered::Connect { token: of, .. } => *of == token,
            Ordered::Disconnect { token: of, .. } => *of == Some(token),
            _ => false,
        };
        let number = *node.orders.iter().find(|(_, order)| of_token(order))?.0;
        let order = node.orders.remove(&number)?;
        self.send_down(order.connection, Message::Cancel { id: number });
        Some(order.what)
    }

    pub(crate) fn coordinator_loses_orders(&mut self, connection: u64) {
        self.orders_end(|order| order.connection == connection, lost("the connection was lost"));
    }

    pub(crate) fn late_orders_end(&mut self) {
        let now = self.now;
        let error = NetworkError::maybe_processed(ErrorKind::DeadlineExceeded, "late");
        self.orders_end(|order| order.deadline <= now, error);
    }

    fn orders_end(&mut self, which: impl Fn(&Order) -> bool, error: NetworkError) {
        let Some(node) = &self.coordinator else { return };
        let ended: Vec<u64> =
            node.orders.iter().filter(|(_, order)| which(order)).map(|(id, _)| *id).collect();
        for id in ended {
            let order = self.coordinator.as_mut().and_then(|node| node.orders.remove(&id));
            if let Some(order) = order {
                self.order_ended(order.what, Err(error.clone()));
            }
        }
    }
}
