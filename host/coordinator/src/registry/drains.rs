//! Agents that take no new containers because an operator wants it so.
//!
//! The agent itself keeps that in mind and tells it with each report and
//! registration, so it survives a restart of the coordinator; here it only has
//! to be believed at once.

use hulynet_protocol::{AgentId, Load, NetworkError, Reply};

use super::{Action, Registry, Token, errors};

impl Registry {
    /// Passes the wish on to the agent.
    pub(crate) fn drain(&mut self, token: Token, agent: AgentId, drain: bool) {
        match self.agents.get(&agent) {
            Some(known) => {
                let peer = known.peer.clone();
                self.actions.push_back(Action::Drain { token, peer, agent, drain });
            }
            None => {
                let known = self.agents.iter().map(|(id, _)| id);
                let error = errors::no_such_agent(&agent, known);
                self.answer(token, Err(error));
            }
        }
    }

    /// The agent obeyed, or did not answer.
    pub(crate) fn drained(
        &mut self,
        token: Token,
        id: &AgentId,
        result: Result<Load, NetworkError>,
    ) {
        let answer = result.and_then(|load| {
            self.reported_load(id, load);
            let lost = || errors::no_such_agent(id, self.agents.iter().map(|(id, _)| id));
            let agent = self.agents.get(id).ok_or_else(lost)?;
            Ok(Reply::Agent(self.agent_record(id, agent)))
        });
        self.answer(token, answer);
    }
}
