//! The TOML file: which keys it has, on which line, checked against the table.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use hulynet_settings::section::{line_of, nearest, type_name};
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Setting, TABLE};
use crate::units::Toml;

/// The name of the file where none is given.
const NAME: &str = "hulynet.toml";

/// The largest file that is read, in bytes; a configuration is far smaller.
const LARGEST: u64 = 1 << 20;

/// What the file says.
#[derive(Debug)]
pub(super) struct FileLayer {
    path: PathBuf,
    values: BTreeMap<&'static str, (String, usize)>,
}

/// Where the file is looked for when none is named.
pub(super) fn usual_places(environment: &BTreeMap<String, OsString>) -> Vec<PathBuf> {
    let user = environment.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let user = user.or_else(|| environment.get("HOME").map(|home| Path::new(home).join(".config")));
    let user = user.or_else(|| environment.get("APPDATA").map(PathBuf::from));
    let mut places = vec![PathBuf::from(NAME)];
    places.extend(user.map(|directory| directory.join("hulynet").join(NAME)));
    places
}

impl FileLayer {
    /// Reads and checks the file.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |cause| ConfigError::File { path: path.to_owned(), cause };
        let mut text = String::new();
        File::open(path)
            .map_err(failed)?
            .take(LARGEST + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > LARGEST {
            return Err(ConfigError::Large { path: path.to_owned(), limit: LARGEST });
        }
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let line = |span| line_of(text, span);
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line(error.span().unwrap_or_default()),
            message: error.message().replace('\n', "; "),
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table.get_ref() {
            let line = line(key.span());
            let key = key.get_ref();
            let setting = TABLE.iter().find(|setting| setting.key == key).ok_or_else(|| {
                ConfigError::Key {
                    path: path.to_owned(),
                    line,
                    key: key.to_string(),
                    nearest: nearest(key, TABLE.iter().map(|setting| setting.key)),
                }
            })?;
            let text = as_text(setting, value.get_ref()).map_err(|found| ConfigError::Type {
                path: path.to_owned(),
                line,
                key: setting.key,
                takes: setting.takes,
                written: written(setting.toml),
                found,
            })?;
            values.insert(setting.key, (text, line));
        }
        Ok(Self { path: path.to_owned(), values })
    }

    /// The text of a setting, the file and the line.
    pub(super) fn get(&self, key: &str) -> Option<(&str, &Path, usize)> {
        self.values.get(key).map(|(text, line)| (text.as_str(), self.path.as_path(), *line))
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn written(toml: Toml) -> &'static str {
    match toml {
        Toml::Text => "a text in quotes",
        Toml::Switch => "true or false without quotes",
        Toml::List => "a list of texts or one text in quotes",
        Toml::Labels => "a table { name = \"value\" } or one text in quotes",
    }
}

/// The value as a flag would write it; the error is the type found.
fn as_text(setting: &Setting, value: &DeValue<'_>) -> Result<String, &'static str> {
    match (setting.toml, value) {
        (Toml::Switch, DeValue::Boolean(switch)) => Ok(switch.to_string()),
        (Toml::Switch, other) => Err(type_name(other)),
        (_, DeValue::String(text)) => Ok(text.to_string()),
        (Toml::List, DeValue::Array(items)) => {
            let texts: Result<Vec<_>, _> =
                items.iter().map(|item| string(item.get_ref())).collect();
            texts.map(|texts| texts.join(","))
        }
        (Toml::Labels, DeValue::Table(labels)) => {
            let label = |(name, value): (&toml::Spanned<_>, &toml::Spanned<_>)| {
                string(value.get_ref()).map(|value| format!("{}={value}", name.get_ref()))
            };
            labels.iter().map(label).collect::<Result<Vec<_>, _>>().map(|labels| labels.join(","))
        }
        (_, other) => Err(type_name(other)),
    }
}

fn string<'a>(value: &'a DeValue<'_>) -> Result<&'a str, &'static str> {
    match value {
        DeValue::String(text) => Ok(text),
        other => Err(type_name(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FileLayer, String> {
        FileLayer::parse(Path::new("h.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest_one() {
        let error = parse("timeout = \"1s\"\n\ncordinator = \"a:1\"\n").unwrap_err();
        assert_eq!(
            error,
            "h.toml:3: there is no setting \"cordinator\", did you mean \"coordinator\"?; 'hulynet config' lists all of them"
        );
        assert!(
            parse("log_format = \"json\"").unwrap_err().contains("did you mean \"log-format\"?")
        );
        assert!(!parse("zzz = 1").unwrap_err().contains("did you mean"));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_with_its_line() {
        let error = parse("\ntimeout = 30").unwrap_err();
        assert_eq!(
            error,
            "h.toml:2: timeout takes a duration such as 500ms, 30s, 5m or 1h, written as a text in quotes, not an integer"
        );
        assert!(parse("json = \"yes\"").unwrap_err().contains("true or false without quotes"));
        assert!(parse("coordinator = [\"a:1\", 2]").unwrap_err().contains("not an integer"));
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_line() {
        assert!(parse("a = 1\nb = = 2\n").unwrap_err().starts_with("h.toml:2: "));
        assert!(
            parse("timeout = \"1s\"\ntimeout = \"2s\"\n").unwrap_err().starts_with("h.toml:2: ")
        );
    }

    #[test]
    fn lists_and_tables_read_like_flags() {
        let file = parse("coordinator = [\"a:1\", \"b:2\"]\nagent-labels = { region = \"europe\", disk = \"fast\" }\njson = true").unwrap();
        assert_eq!(file.get("coordinator").unwrap().0, "a:1,b:2");
        assert_eq!(file.get("agent-labels").unwrap().0, "disk=fast,region=europe");
        assert_eq!(file.get("json").unwrap().0, "true");
    }

    #[test]
    fn the_working_directory_comes_before_the_users() {
        let environment = BTreeMap::from([("HOME".to_owned(), OsString::from("/home/me"))]);
        let places = usual_places(&environment);
        assert_eq!(
            places,
            [PathBuf::from(NAME), PathBuf::from("/home/me/.config/hulynet/hulynet.toml")]
        );
    }
}
