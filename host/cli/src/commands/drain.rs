//! `agents drain` and `agents undrain`.

use hulynet_protocol::AgentRecord;

use super::reach::with_client;
use crate::{cli::Agents, config::Settings, failure::Failure, output};

/// `hulynet agents drain` and `hulynet agents undrain`.
pub(crate) async fn drain(settings: &Settings, command: &Agents) -> Result<(), Failure> {
    let (agent, drain) = match command {
        Agents::Drain { agent } => (agent, true),
        Agents::Undrain { agent } => (agent, false),
    };
    let told =
        with_client(settings, async |client| Ok(client.drain(agent.clone(), drain).await?)).await?;
    output::line(&if settings.json {
        output::agent_json(&told).to_string()
    } else {
        sentence(&told, drain)
    })?;
    Ok(())
}

fn sentence(agent: &AgentRecord, drain: bool) -> String {
    let (id, count) = (&agent.endpoint.agent, agent.containers);
    if !drain {
        return format!("the agent {id} takes containers again");
    }
    let left = match count {
        0 => "it runs none any more".to_owned(),
        1 => "it still runs 1, until nobody holds it".to_owned(),
        _ => format!("it still runs {count}, until nobody holds them"),
    };
    format!("the agent {id} takes no new containers; {left}")
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{AgentId, Endpoint, Labels, Load};

    use super::*;

    #[test]
    fn the_operator_is_told_what_is_left() {
        let mut agent = AgentRecord {
            endpoint: Endpoint { agent: AgentId::new("a").unwrap(), address: None },
            kinds: vec![],
            containers: 0,
            labels: Labels::new(),
            load: Load::default(),
            failing: vec![],
        };
        assert!(sentence(&agent, true).ends_with("it runs none any more"));
        agent.containers = 1;
        assert!(sentence(&agent, true).ends_with("it still runs 1, until nobody holds it"));
        agent.containers = 2;
        assert!(sentence(&agent, true).ends_with("it still runs 2, until nobody holds them"));
        assert_eq!(sentence(&agent, false), "the agent a takes containers again");
    }
}
