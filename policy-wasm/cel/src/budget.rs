//! The bounds of an evaluation: its steps, and how deep it nests.
//!
//! One step takes about as long as reading a field or comparing two numbers. Operations whose cost
//! depends on the size of their input count a step for each eight bytes that they read or write, so
//! that the memory of an evaluation is bounded, too. Invariant: no operation takes much longer than
//! its steps; `tests/tests/all/steps.rs` measures each of them.

use crate::error::EvalError;
use core::cell::Cell;

/// The deepest nesting of an evaluation: expressions within expressions, variables that use
/// variables, lists within lists. A level takes about 400 bytes of stack.
pub const MAX_DEPTH: u32 = 250;

/// The budget that an evaluation has left.
pub struct Budget {
    steps: Cell<u64>,
    depth: Cell<u32>,
}

impl Budget {
    /// Makes a budget.
    pub fn new(steps: u64) -> Self {
        Self {
            steps: Cell::new(steps),
            depth: Cell::new(0),
        }
    }

    /// Returns the steps that are left.
    pub fn left(&self) -> u64 {
        self.steps.get()
    }

    /// Takes steps.
    pub(crate) fn spend(&self, steps: u64) -> Result<(), EvalError> {
        match self.steps.get().checked_sub(steps) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => {
                self.steps.set(0);
                Err(EvalError::out_of_budget())
            }
        }
    }

    /// Takes the steps for reading or writing bytes.
    pub(crate) fn spend_bytes(&self, bytes: usize) -> Result<(), EvalError> {
        self.spend(bytes as u64 / 8)
    }

    /// Goes one level deeper, until the returned value is dropped.
    pub(crate) fn enter(&self) -> Result<Level<'_>, EvalError> {
        let depth = self.depth.get() + 1;
        if depth > MAX_DEPTH {
            return Err(EvalError::too_deep());
        }
        self.depth.set(depth);
        Ok(Level(self))
    }
}

/// A level of nesting.
pub(crate) struct Level<'b>(&'b Budget);

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() - 1);
    }
}
