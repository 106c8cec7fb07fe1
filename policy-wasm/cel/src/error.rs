//! Errors of expressions: when they are compiled, and when they are evaluated.
//!
//! Functions that make errors are `#[cold]`: inlined at each of their many callers, they would
//! weigh more in a component than what they are called by.

use crate::shared::Shared;
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// A reason why an expression can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The problem.
    pub message: String,
}

impl CompileError {
    /// Makes an error at an offset of a text.
    #[cold]
    pub(crate) fn at(source: &str, offset: u32, message: impl Into<String>) -> Self {
        let mut end = (offset as usize).min(source.len());
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        let before = &source[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
            message: message.into(),
        }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )
    }
}

impl core::error::Error for CompileError {}

/// A reason why an expression has no value, in cel-go's words.
#[derive(Clone)]
pub struct EvalError(Shared<'static, Failure>);

impl PartialEq for EvalError {
    fn eq(&self, other: &Self) -> bool {
        self.0.message == other.0.message
    }
}

struct Failure {
    message: String,
    fatal: bool,
}

impl EvalError {
    /// Makes an error.
    #[cold]
    pub fn of(message: impl Into<String>) -> Self {
        Self::new(message.into(), false)
    }

    #[cold]
    fn new(message: String, fatal: bool) -> Self {
        Self(Shared::new(Failure { message, fatal }))
    }

    /// Returns whether the evaluation as a whole ends, so that no operator may absorb the error.
    pub fn is_fatal(&self) -> bool {
        self.0.fatal
    }

    /// Returns the same error with another message.
    #[must_use]
    pub fn with_message(&self, message: impl Into<String>) -> Self {
        Self::new(message.into(), self.0.fatal)
    }

    #[cold]
    pub(crate) fn out_of_budget() -> Self {
        let message = "the expressions take too many steps; simplify them, or bound the lists that \
            they walk";
        Self::new(message.to_owned(), true)
    }

    #[cold]
    pub(crate) fn too_deep() -> Self {
        Self::new("the evaluation nests too deeply".to_owned(), true)
    }

    #[cold]
    pub(crate) fn no_such_overload() -> Self {
        Self::of("no such overload")
    }

    #[cold]
    pub(crate) fn no_such_key(key: &str) -> Self {
        Self::of(format!("no such key: {key}"))
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl core::error::Error for EvalError {}
