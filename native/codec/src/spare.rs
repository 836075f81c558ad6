//! Memory that tasks of the pool use one after the other.

use std::sync::{Mutex, PoisonError};

/// Values for tasks: as many are made as are in use at a time, and tasks that follow take them over.
pub(crate) struct Spares<T, F> {
    make: F,
    free: Mutex<Vec<T>>,
}

impl<T, F: Fn() -> T> Spares<T, F> {
    /// With a function that makes a value when none is free.
    pub(crate) fn new(make: F) -> Self {
        let free = Mutex::default();
        Self { make, free }
    }

    /// Runs `work` with a value that nobody else has meanwhile.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = free().pop();
        let mut value = taken.unwrap_or_else(&self.make);
        let answer = work(&mut value);
        free().push(value);
        answer
    }
}
