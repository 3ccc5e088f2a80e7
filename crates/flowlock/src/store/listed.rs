//! The namespaces that a store lists: as many as may be kept in memory.

use std::collections::BTreeSet;

use super::{NamespaceSeen, StoreError, StoreErrorKind};
use crate::name::Namespace;

/// The most bytes that a list of namespaces takes, with what is in each of them: some 80,000 namespaces
/// with short names. Whoever may write a store can fill it with names.
const MOST_BYTES: usize = 16 << 20;

/// The namespaces listed so far, each once, by name.
#[derive(Debug, Default)]
pub(crate) struct ListedNamespaces {
    names: BTreeSet<Namespace>,
    bytes: usize,
}

impl ListedNamespaces {
    /// Adds one; an error if there are more than may be kept.
    pub(crate) fn add(&mut self, namespace: Namespace) -> Result<(), StoreError> {
        let bytes = size_of::<(Namespace, Option<NamespaceSeen>)>() + namespace.as_str().len();
        if self.names.insert(namespace) {
            self.bytes += bytes;
        }
        if self.bytes > MOST_BYTES { Err(self.too_many()) } else { Ok(()) }
    }

    fn too_many(&self) -> StoreError {
        let first: Vec<_> = self.names.iter().take(3).map(Namespace::to_string).collect();
        let message = format!(
            "the store has at least {} namespaces, more than the {} MiB of them that are listed. Whoever may write the store can make them: see who may, and remove those that are not needed with `flowlock namespaces rm` (the first are {})",
            self.names.len(),
            MOST_BYTES >> 20,
            first.join(", "),
        );
        StoreError::new(StoreErrorKind::Damaged, message)
    }

    /// Returns them in order.
    pub(crate) fn into_vec(self) -> Vec<Namespace> {
        self.names.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize, length: usize) -> impl Iterator<Item = Namespace> {
        (0..count).map(move |number| Namespace::parse(&format!("{number:0length$}")).unwrap())
    }

    #[test]
    fn a_store_with_ever_new_namespaces_fills_no_memory() {
        let mut listed = ListedNamespaces::default();
        let added = names(MOST_BYTES / 500, 500).try_for_each(|name| listed.add(name));
        let said = added.unwrap_err().to_string();
        assert!(said.contains(" namespaces, more than the 16 MiB of them that are listed. "), "{said}");
        assert!(listed.bytes < MOST_BYTES + 1_000);
    }

    #[test]
    fn many_honest_namespaces_are_listed_each_once() {
        let mut listed = ListedNamespaces::default();
        for _ in 0..2 {
            names(30_000, 50).try_for_each(|name| listed.add(name)).unwrap();
        }
        assert!(listed.into_vec().into_iter().eq(names(30_000, 50)));
    }
}
