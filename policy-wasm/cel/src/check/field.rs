//! Selections: `object.spec.type`, `has(object.spec)`, `variables.name`.

use super::{Checked, Checker, nearest};
use crate::ast::Expr;
use crate::parser::qualified;
use crate::program::Plan;
use crate::schema::{Object, Schema};
use crate::signatures::Function;
use crate::types::{Opaque, Type};
use crate::value::Value;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

impl Checker<'_> {
    pub(super) fn check_select(
        &mut self,
        expr: &Expr,
        operand: &Expr,
        field: &str,
        is_optional: bool,
    ) -> Checked {
        // A chain of names may be one name: `google.protobuf.Timestamp`.
        if let Some(name) = qualified(expr)
            && let Some(first) = name.split('.').next()
            && self.local(first).is_none()
        {
            let name = name.trim_start_matches('.');
            if let Some(found) = self.global(name) {
                return found;
            }
        }
        let (found, plan) = self.check_operand(operand);
        if let Type::Variables = found {
            return match self.environment.variable(field) {
                Some((index, found)) if is_optional => (
                    Type::optional(found.clone()),
                    Plan::Call {
                        function: Function::OptionalOf,
                        name: "optional.of",
                        arguments: Box::new([Plan::Composed(index)]),
                    },
                ),
                Some((index, found)) => (found.clone(), Plan::Composed(index)),
                None => self.unknown_variable(expr.offset, field),
            };
        }
        let result = self.field_type(expr.offset, &found, field, is_optional);
        let plan = Plan::Select {
            operand: Box::new(plan),
            field: field.into(),
            is_optional,
        };
        (result, plan)
    }

    fn unknown_variable(&mut self, offset: u32, name: &str) -> Checked {
        let known = self.environment.variable_names().join(", ");
        let known = if known.is_empty() {
            "no variable is declared before this expression".to_owned()
        } else {
            format!("declared before this expression are {known}")
        };
        self.error(offset, format!("undefined field '{name}': {known}"))
    }

    pub(super) fn check_has(&mut self, offset: u32, operand: &Expr, field: &str) -> Checked {
        let (found, plan) = self.check_operand(operand);
        if let Type::Variables = found {
            let is_known = self.environment.variable(field).is_some();
            if !is_known {
                return self.unknown_variable(offset, field);
            }
            return (Type::Bool, Plan::Constant(Value::Bool(true)));
        }
        self.field_type(offset, &found, field, false);
        let plan = Plan::Has {
            operand: Box::new(plan),
            field: field.into(),
        };
        (Type::Bool, plan)
    }

    /// Returns the type of a field.
    fn field_type(&mut self, offset: u32, of: &Type, field: &str, is_optional: bool) -> Type {
        let of = self.mapping.substitute(of, false);
        let (of, was_optional) = match of {
            Type::Optional(of) => (*of, true),
            of => (of, false),
        };
        let found = match &of {
            Type::Map(entry) => entry.1.clone(),
            Type::Object(object) => {
                self.uses.field(object.name, field);
                match object.field(field) {
                    Some(found) => found,
                    None => self.unknown_field(offset, object, field),
                }
            }
            Type::Hint(schema) => self.hinted_field(offset, schema, field),
            Type::Var(_) => {
                self.mapping.assign(&Type::Dyn, &of);
                Type::Dyn
            }
            Type::Mutation(_) | Type::Dyn | Type::Error => Type::Dyn,
            Type::Opaque(Opaque::JsonPatch) => Type::Dyn,
            other => {
                let message = format!("type '{}' does not support field selection", other.name());
                self.error(offset, message).0
            }
        };
        let found = self.mapping.substitute(&found, false);
        if was_optional || is_optional {
            Type::optional(found)
        } else {
            found
        }
    }

    fn unknown_field(&mut self, offset: u32, object: &Object, field: &str) -> Type {
        let missing = object.missing.iter().find(|(name, _)| *name == field);
        let message = match missing {
            Some((_, reason)) => format!("undefined field '{field}': {reason}"),
            None => {
                let known: Vec<_> = object.fields.iter().map(|(name, _)| *name).collect();
                format!(
                    "undefined field '{field}'; {} has {}",
                    object.name,
                    known.join(", ")
                )
            }
        };
        self.error(offset, message).0
    }

    fn hinted_field(&mut self, offset: u32, schema: &'static Schema, field: &str) -> Type {
        match schema {
            Schema::Object(fields) => match fields.iter().find(|(name, _)| *name == field) {
                Some((_, found)) => Type::Hint(found),
                None => {
                    let near = nearest(field, schema.fields());
                    let message = match near {
                        Some(near) => {
                            format!("undefined field '{field}'; did you mean '{near}'?")
                        }
                        None => format!(
                            "undefined field '{field}'; known are {}",
                            schema.fields().collect::<Vec<_>>().join(", ")
                        ),
                    };
                    self.error(offset, message).0
                }
            },
            Schema::Map(value) => Type::Hint(value),
            Schema::Any => Type::Dyn,
            Schema::List(_) => {
                let message = format!("undefined field '{field}': this is a list");
                self.error(offset, message).0
            }
            Schema::String | Schema::Int | Schema::Bool => {
                let kind = schema.strict().name();
                let message = format!("undefined field '{field}': this is of type {kind}");
                self.error(offset, message).0
            }
        }
    }
}
