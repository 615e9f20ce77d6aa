//! For whom a container works.

use crate::Labels;

/// The tenant that a container works for: its workspace, else its account.
/// `None` for a container that works for nobody.
#[must_use]
pub fn tenant_of(labels: &Labels) -> Option<&str> {
    tenant_among(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// The same, of labels that are kept in another form.
pub fn tenant_among<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Option<&'a str> {
    let value = |wanted| labels.clone().find(|(key, _)| *key == wanted).map(|(_, value)| value);
    value("workspace").or_else(|| value("account"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_works_for_its_workspace_or_else_its_account() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(tenant_of(&labels(&[("account", "a"), ("workspace", "w")])), Some("w"));
        assert_eq!(tenant_of(&labels(&[("account", "a"), ("region", "eu")])), Some("a"));
        assert_eq!(tenant_of(&labels(&[("region", "eu")])), None);
    }
}
