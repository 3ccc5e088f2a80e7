//! What a run asks for: [`Claim`]s, and the checked set of them, [`Claims`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// The most claims one request may have.
pub const MOST_CLAIMS: usize = 1_000;
/// The largest request, in bytes of all its names.
pub const LARGEST_REQUEST: usize = 256 * 1024;
/// The largest capacity of a slot.
pub const LARGEST_CAPACITY: u32 = 10_000;

/// The space that a name belongs to. The same word in two spaces means two different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// Inputs and outputs: names with records.
    Data,
    /// Locks and shared locks.
    Lock,
    /// Slots.
    Slot,
}

/// How a claim is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Together with other shared claims.
    Shared,
    /// Alone.
    Exclusive,
    /// Some units of a counted name.
    Units {
        /// Units wanted, 1 to `capacity`.
        units: u32,
        /// Units that exist, as this request states it.
        capacity: u32,
    },
}

/// One name of a request, and how the request claims it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// The space of the name.
    pub space: Space,
    /// The name.
    pub name: Name,
    /// How it is held.
    pub mode: Mode,
    /// Whether its record must exist: true for inputs, and for a name that is both input and output.
    #[serde(default)]
    pub must_exist: bool,
}

impl Claim {
    /// Returns whether a commit writes this name's record.
    pub fn is_output(&self) -> bool {
        self.space == Space::Data && self.mode == Mode::Exclusive
    }
    /// Returns whether its record must exist.
    pub fn is_input(&self) -> bool {
        self.must_exist
    }
}

/// A request's claims: each name once per space, at most 1,000 claims and 256 KiB.
///
/// A name that is both input and output is held exclusively and must exist (read, modify, write). A lock
/// that is requested both shared and exclusive is exclusive.
///
/// ```
/// use flowlock::{Claims, Mode, Name};
/// let name = |n| Name::parse(n).unwrap();
/// let claims = Claims::builder().input(name("a")).output(name("a")).build().unwrap();
/// assert_eq!(claims.iter().count(), 1);
/// assert!(claims.iter().all(|c| c.mode == Mode::Exclusive && c.is_input() && c.is_output()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// Starts an empty set.
    pub fn builder() -> ClaimsBuilder {
        ClaimsBuilder::default()
    }
    /// Iterates over all claims, ordered by space and name.
    pub fn iter(&self) -> std::slice::Iter<'_, Claim> {
        self.0.iter()
    }
    /// Iterates over the claims whose records must exist.
    pub fn inputs(&self) -> impl Iterator<Item = &Claim> {
        self.0.iter().filter(|c| c.is_input())
    }
    /// Iterates over the claims whose records a commit writes.
    pub fn outputs(&self) -> impl Iterator<Item = &Claim> {
        self.0.iter().filter(|c| c.is_output())
    }
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Returns whether both have a name in the same space that they cannot hold together.
    pub(crate) fn touch(&self, other: &Self) -> bool {
        let (few, many) = if self.len() <= other.len() { (self, other) } else { (other, self) };
        few.iter().any(|claim| {
            let at = many.0.binary_search_by(|it| (it.space, &it.name).cmp(&(claim.space, &claim.name)));
            at.is_ok_and(|at| (claim.mode, many.0[at].mode) != (Mode::Shared, Mode::Shared))
        })
    }
    /// Returns whether there are none; such a request is granted at once.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'c> IntoIterator for &'c Claims {
    type Item = &'c Claim;
    type IntoIter = std::slice::Iter<'c, Claim>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Collects claims for [`Claims`].
#[derive(Debug, Clone, Default)]
pub struct ClaimsBuilder {
    wanted: Vec<Claim>,
}

impl ClaimsBuilder {
    /// Adds a name to read.
    #[must_use]
    pub fn input(self, name: Name) -> Self {
        self.claim(Claim { space: Space::Data, name, mode: Mode::Shared, must_exist: true })
    }
    /// Adds a name to write.
    #[must_use]
    pub fn output(self, name: Name) -> Self {
        self.with(Space::Data, name, Mode::Exclusive)
    }
    /// Adds a lock.
    #[must_use]
    pub fn lock(self, name: Name) -> Self {
        self.with(Space::Lock, name, Mode::Exclusive)
    }
    /// Adds a shared lock.
    #[must_use]
    pub fn lock_shared(self, name: Name) -> Self {
        self.with(Space::Lock, name, Mode::Shared)
    }
    /// Adds `units` of the `capacity` units of a counted name.
    #[must_use]
    pub fn slot(self, name: Name, units: u32, capacity: u32) -> Self {
        self.with(Space::Slot, name, Mode::Units { units, capacity })
    }

    fn with(self, space: Space, name: Name, mode: Mode) -> Self {
        self.claim(Claim { space, name, mode, must_exist: false })
    }

    /// Adds a claim as it is stored.
    #[must_use]
    pub(crate) fn claim(mut self, claim: Claim) -> Self {
        self.wanted.push(claim);
        self
    }

    /// Checks the limits and merges claims on the same name.
    pub fn build(self) -> Result<Claims, InvalidClaims> {
        let size = self.wanted.iter().map(|c| c.name.as_str().len()).sum();
        if size > LARGEST_REQUEST {
            return Err(InvalidClaims::TooLarge { size });
        }
        let mut merged: BTreeMap<(Space, Name), Claim> = BTreeMap::new();
        for claim in self.wanted {
            check_units(&claim)?;
            let key = (claim.space, claim.name.clone());
            match merged.get_mut(&key) {
                None => drop(merged.insert(key, claim)),
                Some(first) if claim.space == Space::Slot => {
                    return Err(InvalidClaims::SlotTwice { name: first.name.clone() });
                }
                Some(first) => {
                    first.mode = first.mode.max(claim.mode);
                    first.must_exist |= claim.must_exist;
                }
            }
        }
        if merged.len() > MOST_CLAIMS {
            return Err(InvalidClaims::TooMany { claims: merged.len() });
        }
        Ok(Claims(merged.into_values().collect()))
    }
}

fn check_units(claim: &Claim) -> Result<(), InvalidClaims> {
    match claim.mode {
        Mode::Units { units, capacity }
            if units == 0 || capacity == 0 || units > capacity || capacity > LARGEST_CAPACITY =>
        {
            Err(InvalidClaims::BadUnits { name: claim.name.clone(), units, capacity })
        }
        _ => Ok(()),
    }
}

/// Why claims cannot be one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClaims {
    /// More claims than 1,000.
    #[error("the request has {claims} claims; at most {MOST_CLAIMS} fit into one")]
    TooMany {
        /// How many there were.
        claims: usize,
    },
    /// Names of more than 256 KiB together.
    #[error("the request's names have {size} bytes together; at most {LARGEST_REQUEST} fit into one")]
    TooLarge {
        /// Their size in bytes.
        size: usize,
    },
    /// A slot with no units, more units than capacity, or a capacity above the limit.
    #[error(
        "slot {name}: {units} of {capacity} units; use 1 to CAPACITY units and a capacity of at most {LARGEST_CAPACITY}"
    )]
    BadUnits {
        /// The slot.
        name: Name,
        /// Units wanted.
        units: u32,
        /// Units there are.
        capacity: u32,
    },
    /// One slot named twice.
    #[error("slot {name} is named twice; ask for all its units at once, as NAME:UNITS/CAPACITY")]
    SlotTwice {
        /// The slot.
        name: Name,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn the_same_word_in_three_spaces_is_three_claims() {
        let claims =
            Claims::builder().input(name("x")).lock(name("x")).slot(name("x"), 1, 2).build().unwrap();
        assert_eq!(claims.len(), 3);
    }

    #[test]
    fn a_lock_wanted_both_ways_is_exclusive() {
        let claims = Claims::builder().lock(name("x")).lock_shared(name("x")).build().unwrap();
        assert_eq!(claims.iter().map(|c| c.mode).collect::<Vec<_>>(), [Mode::Exclusive]);
    }

    #[test]
    fn limits_are_named() {
        let many = (0..1001).fold(Claims::builder(), |b, i| b.input(name(&format!("n{i}"))));
        assert_eq!(many.build(), Err(InvalidClaims::TooMany { claims: 1001 }));
        let large = (0..600).fold(Claims::builder(), |b, i| b.input(name(&format!("{i:0500}"))));
        assert_eq!(large.build(), Err(InvalidClaims::TooLarge { size: 300_000 }));
        for (units, capacity) in [(0, 4), (5, 4), (1, 0), (1, 10_001)] {
            let slot = Claims::builder().slot(name("s"), units, capacity).build();
            assert_eq!(slot, Err(InvalidClaims::BadUnits { name: name("s"), units, capacity }));
        }
        let twice = Claims::builder().slot(name("s"), 1, 4).slot(name("s"), 1, 4).build();
        assert_eq!(twice, Err(InvalidClaims::SlotTwice { name: name("s") }));
    }
}
