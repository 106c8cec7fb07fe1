//! A checked expression, ready to be evaluated.

use crate::ast::LoopKind;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::eval::Evaluation;
use crate::regex::Regex;
use crate::signatures::Function;
use crate::types::Type;
use crate::value::Value;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// A checked expression.
pub struct Program {
    pub(crate) plan: Plan,
    pub(crate) output: Type,
    pub(crate) uses: Uses,
}

/// The variables and fields that an expression reads.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Uses {
    /// The variables by index, in the order of their declarations.
    pub variables: Vec<usize>,
    /// Fields of objects with declared types: the name of the type, and of the field. An object
    /// that is used as a whole has the field `*`.
    pub fields: Vec<(&'static str, String)>,
}

impl Uses {
    pub(crate) fn variable(&mut self, index: usize) {
        if !self.variables.contains(&index) {
            self.variables.push(index);
        }
    }

    pub(crate) fn field(&mut self, object: &'static str, field: &str) {
        if !self.reads(object, field) {
            self.fields.push((object, field.into()));
        }
    }

    /// Returns whether a field of an object with a declared type is read.
    pub fn reads(&self, object: &str, field: &str) -> bool {
        self.fields
            .iter()
            .any(|(found, name)| *found == object && (name == field || name == "*"))
    }
}

/// The values of an evaluation's variables.
pub trait Variables<'a> {
    /// Returns the value of a declared variable, by its index.
    ///
    /// # Errors
    ///
    /// The value is not known.
    fn global(&self, index: usize) -> Result<Value<'a>, EvalError>;

    /// Returns a field of `variables`, by its index.
    ///
    /// # Errors
    ///
    /// Its expression has no value.
    fn composed(&self, index: usize) -> Result<Value<'a>, EvalError>;
}

impl Program {
    /// Evaluates the expression.
    ///
    /// # Errors
    ///
    /// It has no value, or the budget is used up.
    pub fn evaluate<'a>(
        &'a self,
        variables: &dyn Variables<'a>,
        budget: &Budget,
    ) -> Result<Value<'a>, EvalError> {
        Evaluation::new(variables, budget).eval(&self.plan)
    }

    /// Returns the type of the result.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// Returns what the expression reads.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }
}

/// A step of an evaluation.
pub(crate) enum Plan {
    Constant(Value<'static>),
    Global(usize),
    Composed(usize),
    Local(usize),
    Select {
        operand: Box<Plan>,
        field: Box<str>,
        is_optional: bool,
    },
    Has {
        operand: Box<Plan>,
        field: Box<str>,
    },
    Index {
        operands: Box<[Plan; 2]>,
        is_optional: bool,
    },
    Call {
        function: Function,
        name: &'static str,
        arguments: Box<[Plan]>,
    },
    /// `matches`, `find` or `findAll` with a constant pattern.
    Search {
        function: Function,
        regex: Box<Regex>,
        arguments: Box<[Plan]>,
    },
    And(Box<[Plan]>),
    Or(Box<[Plan]>),
    Conditional(Box<[Plan; 3]>),
    /// `or` and `orValue`.
    Alternative {
        operands: Box<[Plan; 2]>,
        is_value: bool,
    },
    List(Box<[(Plan, bool)]>),
    Map(Box<[(Plan, Plan, bool)]>),
    Struct {
        name: Box<str>,
        fields: Box<[(Box<str>, Plan, bool)]>,
    },
    Loop(Box<LoopPlan>),
}

/// A loop. Its variables are the next local ones.
pub(crate) struct LoopPlan {
    pub(crate) kind: LoopKind,
    pub(crate) range: Plan,
    pub(crate) has_two: bool,
    pub(crate) condition: Option<Plan>,
    pub(crate) body: Option<Plan>,
}
