//! The registry's timings.

use std::time::Duration;

use super::placement::Placement;

/// How long the registry waits for what. The defaults of the first two are
/// those of the original network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// How long after the coordinator's start a container that a client claims
    /// waits for its agent to bring it back, and an agent that lost the
    /// coordinator before for too long waits with what it brought. No agent's
    /// lease is longer than that, so none serves on from before when it is
    /// over. Longer spares agents that are hard to reach, shorter brings back
    /// sooner what was lost together with the coordinator. The same for all
    /// coordinators of a network. Zero, for networks whose coordinator is
    /// never replaced, waits for nothing. Default 3 s, the usual alive timeout:
    /// every living agent registers again within it.
    pub recovery_window: Duration,
    /// How long a container without references is kept. Longer saves starts,
    /// shorter saves memory. Default 5 s.
    pub unused_timeout: Duration,
    /// The shortest lease that a peer may ask for in its hello. Default 100 ms.
    pub shortest_lease: Duration,
    /// The longest lease that a peer may ask for in its hello: a dead peer's
    /// containers and references stay for that long. Default 60 s.
    pub longest_lease: Duration,
    /// How long a container without references may go on answering *not yet*
    /// before it is ended by force. Default 30 s.
    pub drain_deadline: Duration,
    /// How long after *not yet* a container is asked again. Default 1 s.
    pub ask_interval: Duration,
    /// How long an agent may take to answer whether a container ended, before
    /// it is asked again. Default 10 s.
    pub terminate_timeout: Duration,
    /// How long an agent may take to start a container. Default 30 s.
    pub start_timeout: Duration,
    /// How long a referenced container that failed to start, or that ended
    /// sooner than this after its start, waits before it is started again. It
    /// doubles with every further failure. Default 1 s.
    pub restart_delay: Duration,
    /// Where that delay stops to grow. Default 30 s.
    pub longest_restart_delay: Duration,
    /// How an agent is chosen for a container. Default in turn.
    pub placement: Placement,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            recovery_window: Duration::from_secs(3),
            unused_timeout: Duration::from_secs(5),
            shortest_lease: Duration::from_millis(100),
            longest_lease: Duration::from_secs(60),
            drain_deadline: Duration::from_secs(30),
            ask_interval: Duration::from_secs(1),
            terminate_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
            restart_delay: Duration::from_secs(1),
            longest_restart_delay: Duration::from_secs(30),
            placement: Placement::default(),
        }
    }
}

impl RegistryConfig {
    /// The delay before the restart that follows this many failures in a row.
    pub(crate) fn restart_after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.restart_delay.saturating_mul(1 << doublings).min(self.longest_restart_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_restart_delay_doubles_up_to_its_limit() {
        let config = RegistryConfig::default();
        let seconds: Vec<u64> =
            [1, 2, 3, 6, 1000].map(|failures| config.restart_after(failures).as_secs()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 30, 30]);
    }
}
