//! The environment of expressions: the variables that they may use, with their types.

use crate::check;
use crate::error::CompileError;
use crate::parser;
use crate::program::Program;
use crate::types::Type;
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The names that expressions may use, and their types.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Vec<(&'static str, Type)>,
    refused: Vec<(&'static str, &'static str)>,
    composed: Vec<(String, Type)>,
    has_patch_types: bool,
}

impl Environment {
    /// Makes an environment without variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable. Its index is the number of those that were declared before.
    #[must_use]
    pub fn variable_of(mut self, name: &'static str, of: Type) -> Self {
        self.variables.push((name, of));
        self
    }

    /// Declares that a name is not to be had, with the reason.
    #[must_use]
    pub fn refuse(mut self, name: &'static str, reason: &'static str) -> Self {
        self.refused.push((name, reason));
        self
    }

    /// Adds the types `JSONPatch` and `Object`, and the function `jsonpatch.escapeKey`.
    #[must_use]
    pub fn with_patch_types(mut self) -> Self {
        self.has_patch_types = true;
        self
    }

    /// Adds a field to `variables`, whose expression has a type. Its index is the number of those
    /// that were added before.
    pub fn compose(&mut self, name: &str, of: &Type) {
        self.composed.push((name.to_owned(), composed(of)));
    }

    /// Parses and checks an expression, whose result must have one of some types; any if there are
    /// none.
    ///
    /// # Errors
    ///
    /// All errors of the expression, up to eight; only the first one if it does not parse.
    pub fn compile(&self, source: &str, results: &[Type]) -> Result<Program, Vec<CompileError>> {
        let expr = parser::parse(source).map_err(|error| vec![error])?;
        check::check(self, source, &expr, results)
    }

    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Type)> {
        let index = self
            .variables
            .iter()
            .position(|(found, _)| *found == name)?;
        Some((index, &self.variables[index].1))
    }

    pub(crate) fn variable(&self, name: &str) -> Option<(usize, &Type)> {
        // A later variable of the same name hides an earlier one.
        let index = self.composed.iter().rposition(|(found, _)| found == name)?;
        Some((index, &self.composed[index].1))
    }

    pub(crate) fn refusal(&self, name: &str) -> Option<&'static str> {
        let refused = self.refused.iter().find(|(found, _)| *found == name);
        refused.map(|(_, reason)| *reason)
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.variables.iter().map(|(name, _)| *name).collect()
    }

    pub(crate) fn variable_names(&self) -> Vec<&str> {
        self.composed
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    pub(crate) fn has_patch_types(&self) -> bool {
        self.has_patch_types
    }
}

/// Returns the type that other expressions see of a variable, as the API server has it: types of
/// its libraries become dynamic.
fn composed(of: &Type) -> Type {
    match of {
        Type::List(of) => Type::list(composed(of)),
        Type::Map(entry) => Type::map(composed(&entry.0), composed(&entry.1)),
        Type::Bool
        | Type::Bytes
        | Type::Double
        | Type::Duration
        | Type::Int
        | Type::Null
        | Type::String
        | Type::Timestamp
        | Type::Uint
        | Type::Hint(_) => of.clone(),
        _ => Type::Dyn,
    }
}
