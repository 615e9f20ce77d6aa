//! What peers ask of a coordinator and of an agent.

use std::borrow::Cow;

use bytes::Bytes;
use hulynet_protocol::{AgentId, Kind, Labels, Uuid, limits};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    json::{self, Elements, Refusal},
    labels,
    records::Brought,
};

/// What an agent answers about a container that it does not run.
pub const NOT_FOUND: &str = "Container not found";

/// A request to a coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum ToCoordinator {
    /// `ar`: an agent tells what it serves and runs.
    Register(Register),
    /// `au`: an agent leaves.
    Unregister(AgentId),
    /// `al`: all agents.
    Agents,
    /// `ak`: all kinds.
    Kinds,
    /// `cl`: the containers of one kind, or of all.
    List(Option<Kind>),
    /// `gg`: find or start a container.
    Get(Get),
    /// `cr`: give up a reference.
    Release(Uuid),
    /// `cs`: a request to a container.
    Send(Send),
}

/// A request to an agent.
#[derive(Clone, Debug, PartialEq)]
pub enum ToAgent {
    /// `cc`: receive what containers broadcast.
    Connect(Vec<Uuid>),
    /// `cd`: do not any more.
    Disconnect(Uuid),
    /// `cs`: a request to a container.
    Send(Send),
}

/// What an agent tells of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Register {
    /// Its id.
    pub agent: AgentId,
    /// The containers that it runs, each once.
    pub containers: Vec<Brought>,
    /// The kinds that it serves, in its order, each once.
    pub kinds: Vec<Kind>,
    /// The reference to it, opaque.
    pub endpoint: Option<String>,
}

/// Which container is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Of this kind.
    pub kind: Kind,
    /// This one.
    pub uuid: Option<Uuid>,
    /// One with these labels.
    pub labels: Labels,
    /// Handed to it when it starts: JSON, or nothing.
    pub extra: Vec<u8>,
}

/// A request to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Which.
    pub container: Uuid,
    /// The operation.
    pub operation: String,
    /// Its argument, JSON.
    pub data: Bytes,
}

/// Splits a request into its method and its parameters.
struct Request<'a> {
    method: Cow<'a, str>,
    params: &'a str,
    body: &'a Bytes,
}

impl<'a> Request<'a> {
    fn read(body: &'a Bytes) -> Result<Self, Refusal> {
        let text = json::text(body)?;
        let Elements([method, params]) = json::read("the request", text)?;
        let method = method.ok_or_else(|| Refusal::new("the request names no method"))?;
        let method = json::read::<Cow<'_, str>>("the method", method.get())?;
        Ok(Self { method, params: params.map_or("null", RawValue::get), body })
    }

    fn params<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        json::read(&format!("the parameters of {}", self.method), self.params)
    }

    fn send(&self) -> Result<Send, Refusal> {
        let what = "the parameters of cs";
        let Elements([container, operation, data]) = json::read(what, self.params)?;
        let (Some(container), Some(operation)) = (container, operation) else {
            return Err(Refusal::new("cs takes a container, an operation and its argument"));
        };
        let container: Cow<'_, str> = json::read("the container of cs", container.get())?;
        let operation: String = json::read("the operation of cs", operation.get())?;
        if operation.len() > limits::OPERATION_BYTES {
            let limit = limits::OPERATION_BYTES;
            return Err(Refusal(format!("the operation of cs is over {limit} bytes")));
        }
        let data = data.map_or_else(Bytes::new, |data| self.body.slice_ref(data.get().as_bytes()));
        Ok(Send { container: uuid(&container)?, operation, data })
    }

    fn unknown(&self) -> Refusal {
        let shown = self.method.floor_char_boundary(limits::OPERATION_BYTES);
        let shown = self.method.get(..shown).unwrap_or_default();
        Refusal(format!("Unknown method{shown}"))
    }
}

impl ToCoordinator {
    /// Reads a request that nobody has checked.
    ///
    /// # Errors
    /// [`Refusal`] is the text of the answer.
    pub fn read(body: &Bytes) -> Result<Self, Refusal> {
        let request = Request::read(body)?;
        Ok(match &*request.method {
            "ar" => Self::Register(request.params::<RegisterShape>()?.check()?),
            "au" => Self::Unregister(id(&request.params::<OneShape>()?.uuid)?),
            "al" => Self::Agents,
            "ak" => Self::Kinds,
            "cl" => {
                let kind = request.params::<Option<ListShape>>()?.and_then(|list| list.kind);
                Self::List(kind.map(|kind| self::kind(&kind)).transpose()?)
            }
            "gg" => Self::Get(request.params::<GetShape>()?.check()?),
            "cr" => Self::Release(uuid(&request.params::<OneShape>()?.uuid)?),
            "cs" => Self::Send(request.send()?),
            _ => return Err(request.unknown()),
        })
    }
}

impl ToAgent {
    /// Reads a request that nobody has checked.
    ///
    /// # Errors
    /// [`Refusal`] is the text of the answer.
    pub fn read(body: &Bytes) -> Result<Self, Refusal> {
        let request = Request::read(body)?;
        Ok(match &*request.method {
            "cc" => {
                let uuids = match request.params::<ConnectShape>()?.uuid {
                    OneOrMany::One(one) => vec![one],
                    OneOrMany::Many(many) => many,
                };
                Self::Connect(uuids.iter().map(|text| uuid(text)).collect::<Result<_, _>>()?)
            }
            "cd" => Self::Disconnect(uuid(&request.params::<OneShape>()?.uuid)?),
            "cs" => Self::Send(request.send()?),
            _ => return Err(request.unknown()),
        })
    }
}

#[derive(Deserialize)]
struct OneShape {
    uuid: String,
}

#[derive(Deserialize)]
struct ConnectShape {
    uuid: OneOrMany,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct ListShape {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RegisterShape {
    uuid: String,
    containers: Vec<Brought>,
    kinds: Vec<String>,
    endpoint: Option<String>,
}

impl RegisterShape {
    fn check(self) -> Result<Register, Refusal> {
        let mut seen = std::collections::HashSet::new();
        let mut containers = self.containers;
        containers.retain(|container| seen.insert(container.uuid.clone()));
        let mut kinds = Vec::new();
        for text in &self.kinds {
            let kind = kind(text)?;
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        Ok(Register { agent: id(&self.uuid)?, containers, kinds, endpoint: self.endpoint })
    }
}

#[derive(Deserialize)]
struct GetShape {
    kind: String,
    #[serde(default)]
    request: Option<WantedShape>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WantedShape {
    uuid: Option<String>,
    labels: Option<Vec<String>>,
    extra: Option<Box<RawValue>>,
}

impl GetShape {
    fn check(self) -> Result<Get, Refusal> {
        let WantedShape { uuid: named, labels: texts, extra } = self.request.unwrap_or_default();
        let texts = texts.unwrap_or_default();
        Ok(Get {
            kind: kind(&self.kind)?,
            uuid: named.map(|text| uuid(&text)).transpose()?,
            labels: labels::read(texts.iter().map(String::as_str)),
            extra: extra.map_or_else(Vec::new, |extra| extra.get().as_bytes().to_vec()),
        })
    }
}

fn id(text: &str) -> Result<AgentId, Refusal> {
    AgentId::new(text).map_err(|error| Refusal(error.to_string()))
}

fn uuid(text: &str) -> Result<Uuid, Refusal> {
    Uuid::new(text).map_err(|error| Refusal(error.to_string()))
}

fn kind(text: &str) -> Result<Kind, Refusal> {
    Kind::new(text).map_err(|error| Refusal(error.to_string()))
}

#[cfg(test)]
mod tests;
