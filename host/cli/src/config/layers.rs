//! The layers of the configuration and which of them wins.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf};

use hulynet_settings::section;
use serde_json::{Value, json};

use super::{
    ConfigError, Setting, TABLE,
    file::{self, FileLayer},
    table::PREFIX,
};

/// The variable that names the file.
const CONFIG: &str = "HULYNET_CONFIG";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag on the command line, by its key.
    Flag(&'static str),
    /// A variable of the environment, by its name.
    Environment(String),
    /// A line of the file, from 1.
    File(PathBuf, usize),
    /// The table.
    Default,
}

impl Origin {
    /// The origin for programs.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Flag(key) => json!({ "from": "flag", "name": format!("--{key}") }),
            Self::Environment(name) => json!({ "from": "environment", "name": name }),
            Self::File(path, line) => {
                json!({ "from": "file", "path": path.display().to_string(), "line": line })
            }
            Self::Default => json!({ "from": "default" }),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "flag --{key}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What each layer says; the default is the lowest.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    flags: BTreeMap<&'static str, String>,
    environment: BTreeMap<String, OsString>,
    file: Option<FileLayer>,
}

impl Layers {
    /// Puts the layers together. `named` is the file of `--config`; without it
    /// `HULYNET_CONFIG`, `hulynet.toml` in the working directory and then the
    /// one in the user's configuration directory are tried, and only the first
    /// that exists is read.
    pub(crate) fn read(
        flags: BTreeMap<&'static str, String>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        named: Option<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let environment: BTreeMap<_, _> = environment
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let named = named.or_else(|| environment.get(CONFIG).map(PathBuf::from));
        let file = match named {
            Some(path) => Some(FileLayer::read(&path)?),
            None => {
                match file::usual_places(&environment).into_iter().find(|path| path.is_file()) {
                    Some(path) => Some(FileLayer::read(&path)?),
                    None => None,
                }
            }
        };
        Ok(Self { flags, environment, file })
    }

    /// The value of the highest layer that has one, and where that is.
    pub(crate) fn pick(&self, setting: &Setting) -> Result<(String, Origin), ConfigError> {
        if let Some(text) = self.flags.get(setting.key) {
            return Ok((text.clone(), Origin::Flag(setting.key)));
        }
        let variable = setting.variable();
        if let Some(value) = self.environment.get(&variable) {
            let text = value.to_str().ok_or_else(|| ConfigError::Environment(variable.clone()))?;
            return Ok((text.to_owned(), Origin::Environment(variable)));
        }
        if let Some((text, path, line)) = self.file.as_ref().and_then(|file| file.get(setting.key))
        {
            return Ok((text.to_owned(), Origin::File(path.to_owned(), line)));
        }
        Ok((setting.default.to_owned(), Origin::Default))
    }

    /// Variables whose names are hardly others than those of settings, with what
    /// was meant. Others may begin with `HULYNET_` for reasons of their own.
    pub(crate) fn misspelt(&self) -> Vec<(&str, String)> {
        let settings: Vec<_> = TABLE.iter().map(Setting::variable).collect();
        let known = || settings.iter().map(String::as_str).chain([CONFIG]);
        let names = self.environment.keys().map(String::as_str);
        let others = names.filter(|name| known().all(|known| known != *name));
        let misspelt = |name| {
            let key = str::strip_prefix(name, PREFIX)?;
            let keys = known().filter_map(|known| known.strip_prefix(PREFIX));
            Some((name, format!("{PREFIX}{}", section::misspelt(key, keys)?)))
        };
        others.filter_map(misspelt).collect()
    }

    /// The file that was read, if there is one.
    pub(crate) fn file(&self) -> Option<&std::path::Path> {
        self.file.as_ref().map(FileLayer::path)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;
    use crate::config::Settings;

    fn layers(
        flags: &[(&'static str, &str)],
        environment: &[(&str, &str)],
        file: &str,
    ) -> Result<Layers, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hulynet.toml");
        fs::write(&path, file).unwrap();
        let flags = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        let environment =
            environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Layers::read(flags, environment, Some(path))
    }

    fn timeout(layers: &Layers) -> (Duration, Origin) {
        let settings = Settings::resolve(layers).unwrap();
        let origin = settings.origin("timeout").unwrap().clone();
        (settings.timeout, origin)
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
        let file = "# comment\ntimeout = \"3s\"\n";
        let environment = [("HULYNET_TIMEOUT", "2s")];
        let all = layers(&[("timeout", "1s")], &environment, file).unwrap();
        assert_eq!(timeout(&all), (Duration::from_secs(1), Origin::Flag("timeout")));
        let two = layers(&[], &environment, file).unwrap();
        assert_eq!(
            timeout(&two),
            (Duration::from_secs(2), Origin::Environment("HULYNET_TIMEOUT".into()))
        );
        let one = layers(&[], &[], file).unwrap();
        let path = one.file().unwrap().to_owned();
        assert_eq!(timeout(&one), (Duration::from_secs(3), Origin::File(path, 2)));
        let none = layers(&[], &[], "").unwrap();
        assert_eq!(timeout(&none), (Duration::from_secs(30), Origin::Default));
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let layers = layers(&[], &[("HULYNET_TIMEOUT", "")], "").unwrap();
        assert_eq!(timeout(&layers).1, Origin::Default);
    }

    #[test]
    fn a_variable_with_a_misspelt_name_is_told_with_the_right_one() {
        let misspelt = |names: &[&'static str]| {
            let environment: Vec<_> = names.iter().map(|name| (*name, "1s")).collect();
            let layers = layers(&[], &environment, "").unwrap();
            layers.misspelt().into_iter().map(|(_, meant)| meant).collect::<Vec<_>>()
        };
        assert_eq!(misspelt(&["HULYNET_SECRT_FILE"]), ["HULYNET_SECRET_FILE"]);
        assert_eq!(misspelt(&["HULYNET_TIEMOUT"]), ["HULYNET_TIMEOUT"]);
        assert_eq!(misspelt(&["HULYNET_CONFG"]), ["HULYNET_CONFIG"]);
        let others = [
            "HULYNET_TIMEOUT",
            "HULYNET_CONFIG",
            "HULYNET_DB",
            "HULYNET_DATABASE",
            "HULYNET_PORT",
            "HULYNET_AGENT_PORT",
            "HULYNET_COORDINATOR_SERVICE_HOST",
            "TIEMOUT",
        ];
        assert_eq!(misspelt(&others), [""; 0]);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_told_with_its_place_and_what_the_setting_takes() {
        let wrong = layers(&[], &[("HULYNET_TIMEOUT", "30")], "").unwrap();
        let message = Settings::resolve(&wrong).unwrap_err().to_string();
        assert_eq!(
            message,
            "environment HULYNET_TIMEOUT: timeout takes a duration such as 500ms, 30s, 5m or 1h, not \"30\""
        );
        let wrong = layers(&[("timeout", "x")], &[], "").unwrap();
        assert!(Settings::resolve(&wrong).unwrap_err().to_string().starts_with("flag --timeout: "));
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = Layers::read(BTreeMap::new(), std::iter::empty(), Some("no/such.toml".into()))
            .unwrap_err();
        assert!(error.to_string().contains("no/such.toml"), "{error}");
    }

    #[test]
    fn every_setting_has_a_name_in_the_environment() {
        let names: Vec<_> = TABLE.iter().map(Setting::variable).collect();
        assert!(names.contains(&"HULYNET_LOG_FORMAT".to_owned()));
    }
}
