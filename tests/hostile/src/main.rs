//! Kinds that attack their host, each a component made of a few lines of
//! WebAssembly text, so that nothing of a language's runtime softens the
//! attack. Those that need a runtime are in the crate `hostile` beside this
//! one. The agent's own tests run all of them beside a healthy container.
//!
//! A program outside of the workspace, because the tools that make components
//! would change the features with which the engine under test is built.

mod attacks;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Resolve, WorldId};

use attacks::{Attack, World};

/// Where the contract is.
const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");

/// Writes every attack, for each world that can do it, into the directory that
/// is named.
fn main() -> anyhow::Result<()> {
    let directory = env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.context("name the directory that the kinds go to")?;
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for world in World::ALL {
        let contract = Contract::read(world)?;
        for attack in Attack::ALL.into_iter().filter(|attack| attack.is_of(world)) {
            let name = attack.name(world);
            let component = contract.component(attack).with_context(|| name.clone())?;
            let file = directory.join(format!("{name}.wasm"));
            fs::write(&file, component)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}

struct Contract {
    resolve: Resolve,
    id: WorldId,
    world: World,
}

impl Contract {
    fn read(world: World) -> anyhow::Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(Path::new(CONTRACT))?;
        let id = resolve.select_world(&[package], Some(world.name()))?;
        Ok(Self { resolve, id, world })
    }

    /// The attack as a component.
    fn component(&self, attack: Attack) -> anyhow::Result<Vec<u8>> {
        let mut module = wat::parse_str(attack.text(self.world))?;
        wit_component::embed_component_metadata(
            &mut module,
            &self.resolve,
            self.id,
            StringEncoding::UTF8,
        )?;
        ComponentEncoder::default().validate(true).module(&module)?.encode()
    }
}
