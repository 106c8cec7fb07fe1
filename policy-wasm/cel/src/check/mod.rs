//! The checker: names, types and overloads, as cel-go's checker finds them, and the plan of the
//! evaluation.
//!
//! It refuses all that the API server refuses when it stores an admission policy. Beyond that, a
//! field that no Service has is an error, and so is a call that fails for every Service: the
//! checker knows the schema of what is dynamic to the API server ([`Type::Hint`]).

mod call;
mod collection;
mod comprehension;
mod field;
mod literal;
mod nearest;

pub(crate) use nearest::nearest;

use crate::ast::{Expr, Kind};
use crate::environment::Environment;
use crate::error::CompileError;
use crate::program::{Plan, Program, Uses};
use crate::schema::Object;
use crate::types::{Mapping, Type};
use crate::value::{Str, TypeName, Value};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The errors that are reported of one expression.
const MAX_ERRORS: usize = 8;

/// Checks a parsed expression, whose result must have one of some types; any if there are none.
pub(crate) fn check(
    environment: &Environment,
    source: &str,
    expr: &Expr,
    results: &[Type],
) -> Result<Program, Vec<CompileError>> {
    let mut checker = Checker {
        environment,
        source,
        mapping: Mapping::default(),
        locals: Vec::new(),
        errors: Vec::new(),
        uses: Uses::default(),
        alike: Vec::new(),
        format_depth: 0,
    };
    let (found, plan) = checker.check(expr);
    checker.check_alike();
    let output = checker.mapping.substitute(&found, true);
    if checker.errors.is_empty() && !results.is_empty() && !results.contains(&output) {
        let names: Vec<_> = results.iter().map(Type::name).collect();
        let expected = match names.as_slice() {
            [only] => only.clone(),
            _ => format!("one of [{}]", names.join(" ")),
        };
        let hint = if output.is_dyn() && results == [Type::Bool] {
            "; compare it, as with `== true`"
        } else {
            ""
        };
        checker.error(
            expr.offset,
            format!(
                "must evaluate to {expected} but got {}{hint}",
                output.name()
            ),
        );
    }
    if checker.errors.is_empty() {
        Ok(Program {
            plan,
            output,
            uses: checker.uses,
        })
    } else {
        Err(checker.errors)
    }
}

/// A place holder for the plan of an expression that has an error.
const BROKEN: Plan = Plan::Constant(Value::Null);

struct Checker<'e> {
    environment: &'e Environment,
    source: &'e str,
    mapping: Mapping,
    locals: Vec<(String, Type)>,
    errors: Vec<CompileError>,
    uses: Uses,
    /// Elements that must have the type of the first one of their list or map.
    alike: Vec<(u32, Type, Type)>,
    /// The calls of `format` around an expression, whose arguments may differ.
    format_depth: u32,
}

type Checked = (Type, Plan);

impl Checker<'_> {
    #[cold]
    fn error(&mut self, offset: u32, message: impl Into<String>) -> Checked {
        if self.errors.len() < MAX_ERRORS {
            let error = CompileError::at(self.source, offset, message);
            self.errors.push(error);
        }
        (Type::Error, BROKEN)
    }

    /// Checks an expression whose value is used as a whole.
    fn check(&mut self, expr: &Expr) -> Checked {
        let (found, plan) = self.check_operand(expr);
        match &found {
            Type::Object(object) => self.uses_whole(object),
            Type::Variables => {
                return self.error(
                    expr.offset,
                    "`variables` can only be used with the name of a variable: variables.name",
                );
            }
            _ => {}
        }
        (found, plan)
    }

    fn uses_whole(&mut self, object: &'static Object) {
        self.uses.field(object.name, "*");
        for (_, field) in object.fields {
            if let crate::schema::Field::Object(object) = field {
                self.uses_whole(object);
            }
        }
    }

    /// Checks an expression of which a field may be selected.
    fn check_operand(&mut self, expr: &Expr) -> Checked {
        let offset = expr.offset;
        match &expr.kind {
            Kind::Null => (Type::Null, Plan::Constant(Value::Null)),
            Kind::Bool(value) => (Type::Bool, Plan::Constant(Value::Bool(*value))),
            Kind::Int(value) => (Type::Int, Plan::Constant(Value::Int(*value))),
            Kind::Uint(value) => (Type::Uint, Plan::Constant(Value::Uint(*value))),
            Kind::Double(value) => (Type::Double, Plan::Constant(Value::Double(*value))),
            Kind::String(text) => (Type::String, constant_text(text)),
            Kind::Bytes(bytes) => {
                let bytes = Value::Bytes(bytes.clone().into());
                (Type::Bytes, Plan::Constant(bytes))
            }
            Kind::Name(name) => self.check_name(offset, name),
            Kind::Select {
                operand,
                field,
                is_optional,
            } => self.check_select(expr, operand, field, *is_optional),
            Kind::Has { operand, field } => self.check_has(offset, operand, field),
            Kind::Call {
                name,
                target,
                arguments,
            } => self.check_call(offset, name, target.as_deref(), arguments),
            Kind::And(terms) => self.check_logic(terms, Plan::And),
            Kind::Or(terms) => self.check_logic(terms, Plan::Or),
            Kind::List(elements) => self.check_list(elements),
            Kind::Map(pairs) => self.check_map(pairs),
            Kind::Struct { name, fields } => self.check_struct(offset, name, fields),
            Kind::Loop(found) => self.check_loop(offset, found),
        }
    }

    fn check_name(&mut self, offset: u32, name: &str) -> Checked {
        if let Some(found) = self.local(name) {
            return found;
        }
        let global = name.trim_start_matches('.');
        if let Some(found) = self.global(global) {
            return found;
        }
        let reason = self.environment.refusal(global);
        self.error(
            offset,
            match reason {
                Some(reason) => format!("undeclared reference to '{global}': {reason}"),
                None => format!(
                    "undeclared reference to '{global}'; declared are {}",
                    self.environment.names().join(", ")
                ),
            },
        )
    }

    fn local(&self, name: &str) -> Option<Checked> {
        let index = self.locals.iter().rposition(|(found, _)| found == name)?;
        Some((self.locals[index].1.clone(), Plan::Local(index)))
    }

    fn global(&mut self, name: &str) -> Option<Checked> {
        if let Some((index, found)) = self.environment.find(name) {
            self.uses.variable(index);
            return Some((found.clone(), Plan::Global(index)));
        }
        let (name, found) = Type::named(name)?;
        let value = Value::Type(TypeName(Str::Borrowed(name)));
        Some((Type::Type(Box::new(found)), Plan::Constant(value)))
    }

    fn check_logic(&mut self, terms: &[Expr], plan: fn(Box<[Plan]>) -> Plan) -> Checked {
        let mut plans = Vec::with_capacity(terms.len());
        for term in terms {
            let (found, plan) = self.check(term);
            self.expect(term.offset, &found, &Type::Bool);
            plans.push(plan);
        }
        (Type::Bool, plan(plans.into()))
    }

    fn expect(&mut self, offset: u32, found: &Type, expected: &Type) {
        if !self.mapping.assign(found, expected) {
            let found = self.mapping.substitute(found, true).name();
            let expected = self.mapping.substitute(expected, true).name();
            self.error(
                offset,
                format!("expected type '{expected}' but found '{found}'"),
            );
        }
    }
}

fn constant_text(text: &str) -> Plan {
    Plan::Constant(Value::String(Str::Shared(text.into())))
}

/// Replaces hints by the types that their values have.
fn strict(found: &Type) -> Type {
    match found {
        Type::Hint(schema) => schema.strict(),
        Type::List(of) => Type::list(strict(of)),
        Type::Optional(of) => Type::optional(strict(of)),
        Type::Map(entry) => Type::map(strict(&entry.0), strict(&entry.1)),
        other => other.clone(),
    }
}
