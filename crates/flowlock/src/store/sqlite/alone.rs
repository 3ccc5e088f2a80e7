//! One thread at a time, with a limit to how long the others wait: a mutex that tells the time.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::store::Limits;

/// What only one thread of the process may use at a time.
#[derive(Debug)]
pub(super) struct Alone<T> {
    place: Mutex<Option<Box<T>>>,
    freed: Condvar,
}

/// The thing, until dropped.
#[derive(Debug)]
pub(super) struct Inside<'a, T> {
    thing: Option<Box<T>>,
    home: &'a Alone<T>,
}

impl<T> Alone<T> {
    pub(super) fn new(thing: T) -> Self {
        Self { place: Mutex::new(Some(Box::new(thing))), freed: Condvar::new() }
    }

    /// Waits until no other thread uses it, within these limits.
    pub(super) fn enter(&self, limits: &Limits) -> Option<Inside<'_, T>> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        while place.is_none() {
            place = self.freed.wait_timeout(place, limits.nap()?).unwrap_or_else(PoisonError::into_inner).0;
        }
        place.take().map(|thing| Inside { thing: Some(thing), home: self })
    }
}

impl<T> Drop for Inside<'_, T> {
    fn drop(&mut self) {
        *self.home.place.lock().unwrap_or_else(PoisonError::into_inner) = self.thing.take();
        self.home.freed.notify_one();
    }
}

#[allow(clippy::expect_used)] // only the drop takes it out
impl<T> Deref for Inside<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.thing.as_deref().expect("it is here until the drop")
    }
}

#[allow(clippy::expect_used)] // only the drop takes it out
impl<T> DerefMut for Inside<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.thing.as_deref_mut().expect("it is here until the drop")
    }
}
