//! What a container may use and uses, for operators.

use hulynet_protocol::LimitRecord;

use super::handle::Container;
use crate::capabilities::Thing;

impl Container {
    /// Every limit of the container and of those whom it shares with, and what
    /// is in use of it.
    pub(crate) fn limits_in_use(&self) -> Vec<LimitRecord> {
        let usage = self.usage();
        let (waiting, bytes) = self.mailbox();
        let mut records = self.limits().records(|limit| {
            let used = match limit {
                "memory" => usage.memory(),
                "mailbox" => waiting,
                "mailbox-bytes" => bytes,
                "connections" => self.connections().count(),
                "unread-bytes" => usage.used(Thing::UnreadByte),
                "streams" => usage.used(Thing::Stream),
                "timers" => usage.used(Thing::Timer),
                "references" => usage.used(Thing::Reference),
                "outgoing" => usage.used(Thing::Request),
                "outgoing-bytes" => usage.used(Thing::RequestByte),
                _ => return None,
            };
            Some(used as u64)
        });
        records.extend(self.share().records());
        records
    }
}
