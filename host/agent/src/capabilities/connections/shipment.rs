//! What leaves in one message: the same events for one or more connections of
//! one client. Pure.
//!
//! Connections that are equally far share the payload of the message, which is
//! made once for all clients; those of one client share the message too.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use hulynet_protocol::{ClientId, ConnectionId, Epoch, Event, flow::join};

use super::{Connection, Sink};

/// Events and their common payload.
#[derive(Debug)]
struct Pack {
    events: Vec<Bytes>,
    lengths: Vec<u32>,
    payload: Bytes,
}

/// One message.
pub(super) struct Shipment {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) connections: Vec<ConnectionId>,
    missed: u64,
    /// How many events.
    pub(super) count: usize,
    lengths: Vec<u32>,
    pub(super) payload: Bytes,
}

impl Shipment {
    pub(super) fn event(&self, epoch: Epoch) -> Event {
        let (connections, lengths) = (self.connections.clone(), self.lengths.clone());
        Event::Container { connections, epoch, missed: self.missed, lengths }
    }
}

/// What may leave now, of each connection once.
pub(super) fn load<'all>(
    all: impl Iterator<Item = (&'all ConnectionId, &'all Connection)>,
) -> Vec<Shipment> {
    let mut packs: Vec<Pack> = Vec::new();
    let mut shipments: Vec<Shipment> = Vec::new();
    // By client, pack and gap; the coordinator is the client without a name.
    let mut places: HashMap<(Option<&ClientId>, usize, u64), usize> = HashMap::new();
    for (id, connection) in all.filter(|(_, connection)| connection.open) {
        let Connection { sink, ledger, .. } = connection;
        let count = ledger.ready(sink.batch());
        if count == 0 {
            continue;
        }
        // Usually all are as far as the one before.
        let same = |pack: &Pack| {
            pack.events.len() == count && pack.events.iter().zip(ledger.oldest(count)).all(is_same)
        };
        let number = packs.last().filter(|pack| same(pack)).map(|_| packs.len() - 1);
        let number = number.unwrap_or_else(|| {
            let events: Vec<Bytes> = ledger.oldest(count).cloned().collect();
            let (lengths, payload) = join(&events);
            packs.push(Pack { events, lengths, payload });
            packs.len() - 1
        });
        let Some(pack) = packs.get(number) else { continue };
        let missed = ledger.missed();
        let place = *places.entry((sink.peer(), number, missed)).or_insert_with(|| {
            let (sink, lengths, payload) =
                (sink.clone(), pack.lengths.clone(), pack.payload.clone());
            let connections = Vec::new();
            shipments.push(Shipment { sink, connections, missed, count, lengths, payload });
            shipments.len() - 1
        });
        if let Some(shipment) = shipments.get_mut(place) {
            shipment.connections.push(id.clone());
        }
    }
    shipments
}

/// Whether two payloads are one: they are alive, so no address is reused.
fn is_same((one, other): (&Bytes, &Bytes)) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}
