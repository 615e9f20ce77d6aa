//! A client's links to agents, for connections that do not go through the
//! coordinator.

use hulynet_client::paths::Path;

use crate::{
    link::{Message, Place},
    world::World,
};

impl World {
    /// The coordinator answered hello: what it relayed meanwhile is lost.
    pub(crate) fn proxied_again(&mut self, peer: usize) {
        self.disturb(peer, |open| open.attachment.lost_path(&Path::Proxied));
    }

    pub(crate) fn open_link(&mut self, peer: usize, address: &str) {
        let Some(place) = self.host(address).map(Place::Agent) else { return };
        let known = self.peers[peer].lines.contains_key(&place);
        let line = self.peers[peer].line(place);
        line.unused = false;
        if line.joined {
            // It was about to be closed.
            if let Some(client) = self.client(peer) {
                client.paths.joined(address);
            }
        } else if !known {
            self.connect(peer, place);
        }
    }

    /// No held container lives at the address any more.
    pub(crate) fn close_link(&mut self, peer: usize, address: &str) {
        let Some(client) = self.client(peer) else { return };
        client.paths.closed(address);
        let place = self.host(address).map(Place::Agent);
        if let Some(line) = place.and_then(|place| self.peers[peer].lines.get_mut(&place)) {
            line.unused = true;
        }
    }

    /// A line that nobody needs ends with the calls under way.
    pub(crate) fn close_unused(&mut self, peer: usize, place: Place) {
        let Some(line) = self.peers[peer].lines.get(&place) else { return };
        if !line.unused || !line.calls.is_empty() {
            return;
        }
        if let Some(connection) = line.connection {
            self.send_up(connection, Message::Goodbye);
        }
        self.peers[peer].lines.remove(&place);
    }

    pub(crate) fn link_joined(&mut self, peer: usize, agent: usize, resumed: bool) {
        let Some(address) = self.address(agent) else { return };
        let path = Path::Direct(address.clone());
        let Some(client) = self.client(peer) else { return };
        if !resumed {
            for open in client.connections.values_mut() {
                open.attachment.lost_path(&path);
            }
        }
        client.paths.joined(&address);
        self.follow_all(peer);
    }

    pub(crate) fn link_lost(&mut self, peer: usize, agent: usize) {
        let Some(address) = self.address(agent) else { return };
        if let Some(client) = self.client(peer) {
            client.paths.lost(&address);
        }
        let path = Path::Direct(address);
        self.disturb(peer, |open| open.attachment.lost_path(&path));
    }
}
