//! A fair mutex with a time limit: one thread at a time, in the order in which they came.
//!
//! `room` protects the value while no thread has it, and the order of those that wait. It is held for a
//! few instructions only, and nothing is locked under it. The thread that has the value owns it. Each
//! waiting thread has its own condition variable, all of them with `room`: a thread that gives the value
//! back wakes only the first, and a thread that gives up waiting wakes the one that is first then.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::store::Limits;
use crate::sync::lock;

/// A value that only one thread of the process may use at a time.
#[derive(Debug)]
pub(super) struct Alone<T> {
    room: Mutex<Room<T>>,
}

#[derive(Debug)]
struct Room<T> {
    thing: Option<Box<T>>,
    /// The threads that wait; each is notified when it is first and the value is free.
    line: VecDeque<Arc<Condvar>>,
}

/// The value, until dropped.
#[derive(Debug)]
pub(super) struct Inside<'a, T> {
    thing: Option<Box<T>>,
    home: &'a Alone<T>,
}

impl<T> Alone<T> {
    pub(super) fn new(thing: T) -> Self {
        Self { room: Mutex::new(Room { thing: Some(Box::new(thing)), line: VecDeque::new() }) }
    }

    /// Waits, within these limits, until no other thread uses it and those that came before had it.
    pub(super) fn enter(&self, limits: &Limits) -> Option<Inside<'_, T>> {
        let mut room = lock(&self.room);
        if !room.line.is_empty() || room.thing.is_none() {
            let turn = Arc::new(Condvar::new());
            room.line.push_back(turn.clone());
            let is_mine = |room: &Room<T>| {
                room.thing.is_some() && room.line.front().is_some_and(|first| Arc::ptr_eq(first, &turn))
            };
            while !is_mine(&room)
                && let Some(nap) = limits.nap()
            {
                room = turn.wait_timeout(room, nap).unwrap_or_else(PoisonError::into_inner).0;
            }
            let had_turn = is_mine(&room);
            room.line.retain(|other| !Arc::ptr_eq(other, &turn));
            if !had_turn {
                // The next one may have become the first.
                room.tell_the_first();
                return None;
            }
        }
        room.thing.take().map(|thing| Inside { thing: Some(thing), home: self })
    }
}

impl<T> Room<T> {
    fn tell_the_first(&self) {
        if self.thing.is_some()
            && let Some(first) = self.line.front()
        {
            first.notify_one();
        }
    }
}

impl<T> Drop for Inside<'_, T> {
    fn drop(&mut self) {
        let mut room = lock(&self.home.room);
        room.thing = self.thing.take();
        room.tell_the_first();
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENT: Duration = Duration::from_secs(20);

    /// A thread that has just had it comes after those that wait, however quick it is.
    #[test]
    fn each_has_its_turn_in_the_order_in_which_it_came() {
        let alone = Alone::new(Vec::new());
        std::thread::scope(|scope| {
            let first = alone.enter(&Limits::within(PATIENT)).unwrap();
            for number in 0..8 {
                let alone = &alone;
                scope.spawn(move || alone.enter(&Limits::within(PATIENT)).unwrap().push(number));
                while lock(&alone.room).line.len() <= number {
                    std::thread::yield_now();
                }
            }
            assert!(alone.enter(&Limits::within(Duration::ZERO)).is_none(), "there is no time to wait");
            drop(first);
            alone.enter(&Limits::within(PATIENT)).unwrap().push(8);
        });
        let order = alone.enter(&Limits::within(PATIENT)).unwrap();
        assert_eq!(*order, (0..9).collect::<Vec<usize>>());
    }
}
