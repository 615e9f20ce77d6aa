//! `inspect`: whether a file would be served, without a network.

use std::path::Path;

use hulynet_agent::{Inspection, World};
use serde_json::{Map, Value, json};

use super::kinds::or_nothing;
use crate::{config::Settings, failure::Failure, output, policy::kind_policy};

/// `hulynet inspect`.
pub(crate) fn inspect(settings: &Settings, file: &Path) -> Result<(), Failure> {
    let found = hulynet_agent::inspect(file, kind_policy(settings)?, Some(&settings.cache))?;
    if settings.json {
        output::line(&as_json(&found).to_string())?;
    } else {
        for line in lines(&found) {
            output::line(&line)?;
        }
    }
    match found.refusals.len() {
        0 => Ok(()),
        // Everything was told already.
        _ => Err(Failure::refused("")),
    }
}

fn lines(found: &Inspection) -> Vec<String> {
    let mut lines = Vec::new();
    if found.refusals.is_empty() {
        lines.push(format!("{} would be served", found.kind));
    } else {
        lines.push(format!("{} would be refused:", found.kind));
        lines.extend(found.refusals.iter().map(|refusal| format!("  {refusal}")));
    }
    lines.push(format!("bytes: {}", found.bytes));
    lines.push(format!("hash: {}", found.hash));
    if let Some(manifest) = &found.manifest {
        let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "not told".to_owned());
        lines.push(format!("version: {}", told(&manifest.version)));
        lines.push(format!("description: {}", told(&manifest.description)));
        lines.push(format!("termination: {}", manifest.termination.as_str()));
    }
    if let Some(signer) = &found.signer {
        lines.push(format!("signed by: {signer}"));
    }
    if let Some(world) = found.world {
        lines.push(format!("world: {}", world.name()));
    }
    lines.push(format!("imports: {}", or_nothing(&found.imports.join(", "))));
    lines.push(format!("asks for: {}", or_nothing(&found.asked.to_string())));
    if let Some(terms) = &found.terms {
        let limits = terms.limits.shown();
        let limits = limits.iter().map(|(key, value)| format!("{key} {value}"));
        lines.push(format!("is granted: {}", or_nothing(&terms.granted.to_string())));
        lines.push(format!("requests: {}", terms.concurrency().as_str()));
        lines.push(format!("limits: {}", limits.collect::<Vec<_>>().join(", ")));
    }
    lines
}

fn as_json(found: &Inspection) -> Value {
    let manifest = found.manifest.as_ref();
    let limits = found.terms.as_ref().map(|terms| {
        let limits = terms.limits.shown().into_iter();
        limits.map(|(key, value)| (key.to_owned(), value.into())).collect::<Map<_, _>>()
    });
    json!({
        "kind": found.kind.as_str(),
        "served": found.refusals.is_empty(),
        "refusals": found.refusals,
        "bytes": found.bytes,
        "hash": found.hash,
        "version": manifest.and_then(|manifest| manifest.version.clone()),
        "description": manifest.and_then(|manifest| manifest.description.clone()),
        "concurrency": found.terms.as_ref().map(|terms| terms.concurrency().as_str()),
        "termination": manifest.map(|manifest| manifest.termination.as_str()),
        "signer": found.signer.as_ref().map(ToString::to_string),
        "world": found.world.map(World::name),
        "imports": found.imports,
        "asked": found.asked.to_string(),
        "granted": found.terms.as_ref().map(|terms| terms.granted.to_string()),
        "limits": limits,
    })
}
