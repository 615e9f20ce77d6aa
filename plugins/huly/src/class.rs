//! Classes: which derive from which, and in which domain their documents live.
//!
//! A [`Hierarchy`] is built from the documents of the model (classes, mixins
//! and interfaces) over a small built-in base, so that a workspace whose model
//! was never loaded still answers for the common classes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

/// The class of the documents that define classes.
pub const CLASS: &str = "core:class:Class";
/// The class of the documents that define mixins.
pub const MIXIN: &str = "core:class:Mixin";
/// The class of the documents that define interfaces.
pub const INTERFACE: &str = "core:class:Interface";

/// Every document is one of these, also one whose class no model defines.
const ROOTS: [&str; 2] = ["core:class:Obj", "core:class:Doc"];

/// The built-in classes: name, what it extends, its domain.
const BASE: [(&str, &str, &str); 28] = [
    ("core:class:Obj", "", ""),
    ("core:class:Doc", "core:class:Obj", ""),
    ("core:class:AttachedDoc", "core:class:Doc", ""),
    ("core:class:Class", "core:class:Doc", "model"),
    ("core:class:Interface", "core:class:Class", ""),
    ("core:class:Mixin", "core:class:Class", ""),
    ("core:class:Attribute", "core:class:Doc", "model"),
    ("core:class:Space", "core:class:Doc", "space"),
    ("core:class:TypedSpace", "core:class:Space", ""),
    ("core:class:SystemSpace", "core:class:Space", ""),
    ("core:class:Tx", "core:class:Doc", "tx"),
    ("core:class:TxCUD", "core:class:Tx", ""),
    ("core:class:TxCreateDoc", "core:class:TxCUD", ""),
    ("core:class:TxUpdateDoc", "core:class:TxCUD", ""),
    ("core:class:TxRemoveDoc", "core:class:TxCUD", ""),
    ("core:class:TxMixin", "core:class:TxCUD", ""),
    ("core:class:TxApplyIf", "core:class:Tx", ""),
    ("core:class:TxWorkspaceEvent", "core:class:Doc", ""),
    ("task:class:Project", "core:class:TypedSpace", ""),
    ("task:class:Task", "core:class:AttachedDoc", "task"),
    ("tracker:class:Project", "task:class:Project", ""),
    ("tracker:class:Issue", "task:class:Task", ""),
    ("activity:class:ActivityMessage", "core:class:AttachedDoc", "activity"),
    ("chunter:class:ChatMessage", "activity:class:ActivityMessage", ""),
    ("tags:class:TagReference", "core:class:AttachedDoc", "tags"),
    ("contact:class:Contact", "core:class:Doc", "contact"),
    ("contact:class:Person", "contact:class:Contact", ""),
    ("contact:class:Organization", "contact:class:Contact", ""),
];

/// What kind of class something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A class: documents name it in `_class`.
    Class,
    /// An interface: classes implement it.
    Interface,
    /// A mixin: documents of its base class carry its data under its name.
    Mixin,
}

/// The classes of a workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct Hierarchy {
    classes: BTreeMap<String, Class>,
    /// Direct descendants by `extends` and `implements`.
    children: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Class {
    kind: Kind,
    extends: Option<String>,
    implements: Vec<String>,
    domain: Option<String>,
}

impl Hierarchy {
    /// The hierarchy that the model's documents define over the built-in base.
    ///
    /// A document with the name of a built-in class replaces it. Documents of
    /// other classes are passed over, and a relation that is no text counts as
    /// absent: a broken class must not take the other classes away.
    pub fn new<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Self {
        let base = BASE.iter().map(|(name, extends, domain)| {
            let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let class = Class {
                kind: Kind::Class,
                extends: named(extends),
                implements: Vec::new(),
                domain: named(domain),
            };
            ((*name).to_owned(), class)
        });
        let mut classes: BTreeMap<_, _> = base.collect();
        classes.extend(documents.into_iter().filter_map(Class::read));
        let mut children: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, class) in &classes {
            for parent in class.parents() {
                children.entry(parent.to_owned()).or_default().insert(name.clone());
            }
        }
        Self { classes, children }
    }

    /// How many classes, mixins and interfaces there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Never true: the base is always there.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The kind of a class; one that no model defines counts as a class.
    pub fn kind(&self, class: &str) -> Kind {
        self.classes.get(class).map_or(Kind::Class, |class| class.kind)
    }

    /// True if the base or a document of the model defines this class.
    pub fn defines(&self, class: &str) -> bool {
        self.classes.contains_key(class)
    }

    /// True if a transaction may change the hierarchy: it is about a class,
    /// or could turn another document into one.
    pub fn is_touched_by(&self, transaction: &Value) -> bool {
        let text = |field: &str| transaction.get(field).and_then(Value::as_str);
        let operation =
            |key: &str| transaction.get("operations").is_some_and(|all| all.get(key).is_some());
        text("objectClass").is_some_and(|class| [CLASS, MIXIN, INTERFACE].contains(&class))
            || text("objectId").is_some_and(|object| self.defines(object))
            || operation("_class")
            || operation("$rename")
    }

    /// True for the classes from which every document derives.
    pub fn is_root(&self, class: &str) -> bool {
        ROOTS.contains(&class)
    }

    /// The class itself and all classes that derive from it or implement it,
    /// in the order of their names. Mixins and interfaces are left out: no
    /// document names one in `_class`.
    pub fn descendants(&self, class: &str) -> Vec<String> {
        let mut seen = BTreeSet::from([class]);
        let mut queue = VecDeque::from([class]);
        while let Some(parent) = queue.pop_front() {
            for child in self.children.get(parent).into_iter().flatten() {
                if seen.insert(child) {
                    queue.push_back(child);
                }
            }
        }
        seen.into_iter().filter(|name| self.kind(name) == Kind::Class).map(str::to_owned).collect()
    }

    /// True if `class` is `base`, derives from it or implements it.
    pub fn is_derived(&self, class: &str, base: &str) -> bool {
        let mut seen = BTreeSet::from([class]);
        let mut queue = VecDeque::from([class]);
        while let Some(name) = queue.pop_front() {
            if name == base {
                return true;
            }
            for parent in self.classes.get(name).into_iter().flat_map(Class::parents) {
                if seen.insert(parent) {
                    queue.push_back(parent);
                }
            }
        }
        false
    }

    /// The domain of a class: its own, or the nearest one up its `extends`.
    pub fn domain(&self, class: &str) -> Option<&str> {
        self.line(class).find_map(|name| self.classes.get(name)?.domain.as_deref())
    }

    /// The class whose documents a mixin extends: the nearest one up its
    /// `extends` that is no mixin. A class is its own base.
    pub fn base<'a>(&'a self, class: &'a str) -> Option<&'a str> {
        self.line(class).find(|name| self.kind(name) != Kind::Mixin)
    }

    /// The class and what it extends, nearest first; ends where a cycle closes.
    fn line<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a str> {
        let up = |name: &&'a str| self.classes.get(*name)?.extends.as_deref();
        std::iter::successors(Some(class), up).take(self.classes.len() + 1)
    }
}

impl Class {
    fn read(document: &Value) -> Option<(String, Self)> {
        let text = |field: &str| document.get(field).and_then(Value::as_str).map(str::to_owned);
        let kind = match text("_class")?.as_str() {
            CLASS => Kind::Class,
            INTERFACE => Kind::Interface,
            MIXIN => Kind::Mixin,
            _ => return None,
        };
        let implements = document.get("implements").and_then(Value::as_array).into_iter().flatten();
        let class = Self {
            kind,
            extends: text("extends"),
            implements: implements.filter_map(Value::as_str).map(str::to_owned).collect(),
            domain: text("domain"),
        };
        Some((text("_id")?, class))
    }

    fn parents(&self) -> impl Iterator<Item = &str> {
        self.extends.iter().chain(&self.implements).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class(id: &str, extends: &str) -> Value {
        json!({"_id": id, "_class": CLASS, "kind": 0, "extends": extends})
    }

    #[test]
    fn the_base_knows_the_common_classes() {
        let base = Hierarchy::new([]);
        assert_eq!(base.descendants("task:class:Task"), ["task:class:Task", "tracker:class:Issue"]);
        assert!(base.is_derived("chunter:class:ChatMessage", "core:class:AttachedDoc"));
        assert!(!base.is_derived("core:class:AttachedDoc", "chunter:class:ChatMessage"));
        assert_eq!(base.domain("tracker:class:Issue"), Some("task"));
        assert_eq!(base.domain("tracker:class:Project"), Some("space"));
        assert_eq!(base.domain("core:class:Doc"), None);
    }

    #[test]
    fn a_class_of_no_model_derives_from_itself_alone() {
        let base = Hierarchy::new([]);
        assert_eq!(base.descendants("my:class:Own"), ["my:class:Own"]);
        assert!(base.is_derived("my:class:Own", "my:class:Own"));
    }

    #[test]
    fn a_model_adds_to_the_base_and_replaces_what_it_names() {
        let model = [
            class("my:class:Bug", "tracker:class:Issue"),
            json!({"_id": "tracker:class:Issue", "_class": CLASS, "extends": "my:class:Thing", "domain": "things"}),
        ];
        let hierarchy = Hierarchy::new(&model);
        assert_eq!(
            hierarchy.descendants("tracker:class:Issue"),
            ["my:class:Bug", "tracker:class:Issue"]
        );
        assert_eq!(hierarchy.descendants("task:class:Task"), ["task:class:Task"]);
        assert_eq!(hierarchy.domain("my:class:Bug"), Some("things"));
    }

    #[test]
    fn those_that_implement_an_interface_derive_from_it() {
        let model = [
            json!({"_id": "my:interface:I", "_class": INTERFACE, "kind": 1}),
            json!({"_id": "my:class:A", "_class": CLASS, "implements": ["my:interface:I"]}),
            class("my:class:B", "my:class:A"),
        ];
        let hierarchy = Hierarchy::new(&model);
        assert_eq!(hierarchy.descendants("my:interface:I"), ["my:class:A", "my:class:B"]);
        assert!(hierarchy.is_derived("my:class:B", "my:interface:I"));
    }

    #[test]
    fn mixins_are_no_descendants_and_know_their_base() {
        let mixin = |id: &str, extends: &str| json!({"_id": id, "_class": MIXIN, "kind": 2, "extends": extends});
        let model =
            [mixin("my:mixin:M", "contact:class:Person"), mixin("my:mixin:N", "my:mixin:M")];
        let hierarchy = Hierarchy::new(&model);
        assert_eq!(hierarchy.descendants("contact:class:Person"), ["contact:class:Person"]);
        assert_eq!(hierarchy.base("my:mixin:N"), Some("contact:class:Person"));
        assert_eq!(hierarchy.kind("my:mixin:N"), Kind::Mixin);
    }

    #[test]
    fn a_transaction_that_may_change_a_class_is_noticed() {
        let hierarchy = Hierarchy::new(&[class("my:class:A", "core:class:Doc")]);
        for (transaction, touches) in [
            (
                json!({"objectId": "x", "objectClass": "tracker:class:Issue", "operations": {"a": 1}}),
                false,
            ),
            (json!({"objectId": "x", "objectClass": CLASS, "attributes": {}}), true),
            (
                json!({"objectId": "my:class:A", "objectClass": "lie", "operations": {"extends": "b"}}),
                true,
            ),
            (json!({"objectId": "x", "objectClass": "lie", "operations": {"_class": CLASS}}), true),
            (
                json!({"objectId": "x", "objectClass": "lie", "operations": {"$rename": {"a": "_class"}}}),
                true,
            ),
        ] {
            assert_eq!(hierarchy.is_touched_by(&transaction), touches, "{transaction}");
        }
    }

    #[test]
    fn cycles_and_broken_classes_end() {
        let model = [
            class("a", "b"),
            class("b", "a"),
            class("c", "c"),
            json!({"_id": "m", "_class": MIXIN, "extends": "n"}),
            json!({"_id": "n", "_class": MIXIN, "extends": "m"}),
            json!({"_id": "broken", "_class": CLASS, "extends": 7, "implements": [1, "a"], "domain": {}}),
            json!({"_id": 7, "_class": CLASS}),
            json!("nothing"),
        ];
        let hierarchy = Hierarchy::new(&model);
        assert_eq!(hierarchy.descendants("a"), ["a", "b", "broken"]);
        assert!(hierarchy.is_derived("a", "b") && hierarchy.is_derived("b", "a"));
        assert!(!hierarchy.is_derived("a", "c"));
        assert_eq!(hierarchy.domain("a"), None);
        assert_eq!(hierarchy.base("m"), None);
    }
}
