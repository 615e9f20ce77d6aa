//! Who holds which container, seen from both ends.
//!
//! A container knows its holders and a client what it holds, both by slot.
//! Only this file changes either, so that they cannot disagree.

use hulynet_protocol::{ClientId, Uuid};

use super::{Registry, clients::Client, containers::Container};

impl Registry {
    /// A client holds a container from now on.
    pub(crate) fn hold(&mut self, client: &ClientId, uuid: &Uuid) {
        if let Some(holder) = self.clients.slot(client)
            && let Some(held) = self.containers.slot(uuid)
            && let Some(client) = self.clients.at_mut(holder)
            && let Some(container) = self.containers.at_mut(held)
        {
            client.held.insert(held);
            container.holders.insert(holder);
        }
    }

    /// A client gives a container up; whether it held it.
    pub(crate) fn let_go(&mut self, client: &ClientId, uuid: &Uuid) -> bool {
        if let Some(holder) = self.clients.slot(client)
            && let Some(held) = self.containers.slot(uuid)
            && let Some(client) = self.clients.at_mut(holder)
            && let Some(container) = self.containers.at_mut(held)
        {
            client.held.remove(held);
            container.holders.remove(holder)
        } else {
            false
        }
    }

    /// Takes a container's references away.
    pub(crate) fn drop_holders(&mut self, uuid: &Uuid) {
        let Some(held) = self.containers.slot(uuid) else { return };
        let Some(container) = self.containers.at_mut(held) else { return };
        for holder in std::mem::take(&mut container.holders).iter() {
            if let Some(client) = self.clients.at_mut(holder) {
                client.held.remove(held);
            }
        }
    }

    /// Takes a client out, and its references; gives what it held.
    pub(crate) fn drop_client(&mut self, client: &ClientId) -> Option<(Client, Vec<Uuid>)> {
        let (holder, lost) = self.clients.remove(client)?;
        let mut held = Vec::with_capacity(lost.held.len());
        for slot in lost.held.iter() {
            if let Some(container) = self.containers.at_mut(slot) {
                container.holders.remove(holder);
                held.push(container.id.uuid.clone());
            }
        }
        Some((lost, held))
    }

    /// The clients that hold a container.
    pub(crate) fn holders<'a>(
        &'a self,
        container: &'a Container,
    ) -> impl Iterator<Item = &'a ClientId> {
        container.holders.iter().filter_map(|slot| self.clients.at(slot)).map(|client| &client.id)
    }

    /// Whether both ends of every reference know each other.
    pub(crate) fn check_references(&self) -> Result<(), String> {
        for (slot, client) in self.clients.iter() {
            let knows = |container: &Container| container.holders.contains(slot);
            if let Some(held) =
                client.held.iter().find(|held| !self.containers.at(*held).is_some_and(knows))
            {
                return Err(format!("{} holds {held:?}, which does not know it", client.id));
            }
        }
        for (slot, container) in self.containers.slots() {
            let knows = |client: &Client| client.held.contains(slot);
            if let Some(holder) =
                container.holders.iter().find(|holder| !self.clients.at(*holder).is_some_and(knows))
            {
                return Err(format!(
                    "{} is held by {holder:?}, who does not know it",
                    container.id
                ));
            }
        }
        Ok(())
    }
}
