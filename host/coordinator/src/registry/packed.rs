//! Labels as the registry keeps them: one small piece of memory for each
//! container, none for one without labels.

use hulynet_protocol::{Labels, is_of_another, tenant_among};

/// Ends a key and a value. Checked labels contain no control characters.
const END: char = '\n';

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed(Box<str>);

impl Packed {
    /// Takes labels that were checked.
    pub(crate) fn new(labels: &Labels) -> Self {
        let texts = labels.iter().flat_map(|(key, value)| [key, value]);
        let mut packed = String::with_capacity(texts.clone().map(|text| text.len() + 1).sum());
        for text in texts {
            packed.push_str(text);
            packed.push(END);
        }
        Self(packed.into())
    }

    pub(crate) fn unpack(&self) -> Labels {
        self.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The tenant that a container with these labels works for.
    pub(crate) fn tenant(&self) -> Option<&str> {
        tenant_among(self.iter())
    }

    /// Whether they are those of another tenant's container than is wanted.
    pub(crate) fn are_of_another(&self, wanted: &Self) -> bool {
        is_of_another(wanted.iter(), self.iter())
    }

    /// Sorted by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let mut texts = self.0.split_terminator(END);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_as_they_were() {
        for labels in [&[][..], &[("a", "")], &[("a", "1"), ("b", ""), ("über", "=, x")]] {
            let labels: Labels =
                labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(Packed::new(&labels).unpack(), labels);
        }
    }
}
