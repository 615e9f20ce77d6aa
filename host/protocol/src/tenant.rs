//! For whom a container works, which its labels say.

use crate::Labels;

/// The label of a container that acts for an account.
pub const ACCOUNT: &str = "account";
/// The label of a container that works on a workspace, and may write to it.
pub const WORKSPACE: &str = "workspace";
/// The label of a container that a tenant's container started and that has none
/// of the tenant's rights: `account=A` or `workspace=W`.
pub const TENANT: &str = "tenant";

/// Who may act for a tenant: the labels that give a container its rights.
pub const OWNERS: [&str; 2] = [WORKSPACE, ACCOUNT];

/// The tenant that a container works for, by name: its workspace, else its
/// account, else the one for which it was started. `None` for a container that
/// works for nobody.
#[must_use]
pub fn tenant_of(labels: &Labels) -> Option<&str> {
    tenant_among(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// The same, of labels that are kept in another form.
pub fn tenant_among<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Option<&'a str> {
    owners(labels.clone()).into_iter().flatten().next().or_else(|| {
        let tenant = value(labels, TENANT)?;
        Some(tenant.split_once('=').map_or(tenant, |(_, name)| name))
    })
}

fn value<'a>(
    mut labels: impl Iterator<Item = (&'a str, &'a str)>,
    wanted: &str,
) -> Option<&'a str> {
    labels.find(|(key, _)| *key == wanted).map(|(_, value)| value)
}

/// What the labels [`OWNERS`] say.
fn owners<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> [Option<&'a str>; OWNERS.len()] {
    OWNERS.map(|key| value(labels.clone(), key))
}

/// What the label [`TENANT`] says of whatever a container starts: for whom it
/// works itself.
#[must_use]
pub fn started_for(labels: &Labels) -> Option<String> {
    let owner = |key| labels.get(key).map(|name| format!("{key}={name}"));
    OWNERS.into_iter().find_map(owner).or_else(|| labels.get(TENANT).cloned())
}

/// Whether whoever asks for a container with these labels would get that of
/// another tenant. One who names no tenant gets any, and the container of nobody
/// serves all.
pub fn is_of_another<'w, 'f>(
    wanted: impl Iterator<Item = (&'w str, &'w str)> + Clone,
    found: impl Iterator<Item = (&'f str, &'f str)> + Clone,
) -> bool {
    let nobody = [None; OWNERS.len()];
    let wanted = owners(wanted);
    if wanted == nobody {
        return false;
    }
    let mut others = owners(found.clone());
    if others == nobody {
        let tenant = value(found, TENANT).and_then(|tenant| tenant.split_once('='));
        others = OWNERS.map(|key| tenant.filter(|(of, _)| *of == key).map(|(_, name)| name));
    }
    let mut same = wanted.into_iter().zip(others).filter_map(|(own, other)| Some(own? == other?));
    let is_own = same.next().is_some_and(|first| first && same.all(|same| same));
    others != nobody && !is_own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_container_works_for_its_workspace_or_its_account_or_who_started_it() {
        for (pairs, tenant, started_for_it) in [
            (&[("account", "a"), ("workspace", "w")][..], Some("w"), Some("workspace=w")),
            (&[("account", "a"), ("tenant", "account=b")], Some("a"), Some("account=a")),
            (&[("tenant", "account=b")], Some("b"), Some("account=b")),
            (&[("tenant", "odd")], Some("odd"), Some("odd")),
            (&[("region", "eu")], None, None),
        ] {
            let labels = labels(pairs);
            assert_eq!(tenant_of(&labels), tenant, "{pairs:?}");
            assert_eq!(started_for(&labels).as_deref(), started_for_it, "{pairs:?}");
        }
    }

    #[test]
    fn only_who_names_a_tenant_is_kept_from_what_is_of_another() {
        for (wanted, found, another) in [
            (&[("account", "a")][..], &[("account", "b")][..], true),
            (&[("account", "a")], &[("account", "a"), ("region", "eu")], false),
            (&[("account", "a")], &[("tenant", "account=b")], true),
            (&[("account", "a")], &[("tenant", "workspace=a")], true),
            (&[("account", "a")], &[("tenant", "account=a")], false),
            (&[("account", "a")], &[("account", "a"), ("tenant", "account=b")], false),
            (&[("account", "a")], &[("tenant", "of no known form")], false),
            (&[("workspace", "w")], &[("account", "a")], true),
            (&[("workspace", "w")], &[("account", "a"), ("workspace", "w")], false),
            (&[("account", "a"), ("workspace", "w")], &[("account", "a")], false),
            (
                &[("account", "a"), ("workspace", "w")],
                &[("account", "a"), ("workspace", "v")],
                true,
            ),
            (&[("account", "a")], &[("workspace", "w"), ("tenant", "account=a")], true),
            (&[("account", "a")], &[("region", "eu")], false),
            (&[("tenant", "account=a")], &[("workspace", "w")], false),
            (&[], &[("tenant", "account=b")], false),
        ] {
            assert_eq!(
                is_of_another(wanted.iter().copied(), found.iter().copied()),
                another,
                "{wanted:?} {found:?}"
            );
        }
    }
}
