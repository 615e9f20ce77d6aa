//! A bounded memory of what was used lately.

use std::collections::BTreeMap;

/// A map that keeps the entries used last, at most as many as its capacity.
#[derive(Debug)]
pub struct Recent<T> {
    capacity: usize,
    uses: u64,
    entries: BTreeMap<String, (u64, T)>,
}

impl<T> Recent<T> {
    /// An empty one for at most so many entries.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, uses: 0, entries: BTreeMap::new() }
    }

    /// The entry, which counts as a use.
    pub fn get(&mut self, key: &str) -> Option<&mut T> {
        self.uses += 1;
        let (used, value) = self.entries.get_mut(key)?;
        *used = self.uses;
        Some(value)
    }

    /// Puts an entry in, and the one that was not used for longest out if
    /// there is no room.
    pub fn insert(&mut self, key: &str, value: T) {
        self.uses += 1;
        if !self.entries.contains_key(key) && self.entries.len() >= self.capacity {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(key.to_owned(), (self.uses, value));
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &str) -> Option<T> {
        self.entries.remove(key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_was_not_used_for_longest_goes_first() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        assert_eq!(recent.get("a"), Some(&mut 1));
        recent.insert("c", 3);
        assert_eq!(recent.get("a"), Some(&mut 1));
        assert_eq!(recent.get("b"), None);
        assert_eq!(recent.get("c"), Some(&mut 3));
    }

    #[test]
    fn an_entry_that_is_put_again_drives_no_other_out() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        recent.insert("b", 3);
        assert_eq!((recent.remove("a"), recent.remove("b")), (Some(1), Some(3)));
        assert_eq!(recent.remove("a"), None);
    }
}
