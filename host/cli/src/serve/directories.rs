//! The agent's directories: the default ones are made, named ones must exist
//! where a missing one is more likely a mistake.

use std::{fs, path::Path};

use crate::{
    config::{Origin, Settings},
    failure::Failure,
};

/// Makes what is missing. A plugin directory that was named must exist: an
/// agent that serves nothing because of a typing error helps nobody.
pub(super) fn prepare(settings: &Settings) -> Result<(), Failure> {
    let plugins = &settings.plugins;
    if is_named(settings, "plugins") && !plugins.is_dir() {
        let problem = if plugins.exists() { "is not a directory" } else { "does not exist" };
        return Err(Failure::usage(format!(
            "the plugin directory {} {problem}; create it, build kinds into it, or correct --plugins",
            plugins.display()
        )));
    }
    make(settings, "plugins", plugins)?;
    make(settings, "data", &settings.data)
}

fn make(settings: &Settings, key: &str, directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|cause| {
        let within = if is_named(settings, key) { "" } else { "--dir or " };
        Failure::usage(format!(
            "cannot create the directory {}: {cause}; choose another with {within}--{key}",
            directory.display()
        ))
    })
}

/// Whether it is not the default one, which lies in the state directory.
fn is_named(settings: &Settings, key: &str) -> bool {
    settings.origin(key).is_some_and(|origin| *origin != Origin::Default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn the_state_directory_is_made_and_a_named_plugin_directory_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let prepare = |key, name: &str| {
            let path = directory.path().join(name).display().to_string();
            let layers = Layers::read([(key, path)].into(), std::iter::empty(), None).unwrap();
            prepare(&Settings::resolve(&layers).unwrap())
        };
        prepare("dir", "new/state").unwrap();
        let state = directory.path().join("new/state");
        assert!(state.join("plugins").is_dir() && state.join("data").is_dir());
        assert!(prepare("plugins", "typo").unwrap_err().to_string().contains("typo"));
        assert!(!directory.path().join("typo").exists());
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(prepare("plugins", "file").unwrap_err().to_string().contains("not a directory"));
    }
}
