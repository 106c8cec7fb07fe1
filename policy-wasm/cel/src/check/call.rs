//! Calls: the overloads that fit, and the plan.

use super::{BROKEN, Checked, Checker, nearest, strict};
use crate::ast::Expr;
use crate::budget::Budget;
use crate::eval::Evaluation;
use crate::parser::qualified;
use crate::program::{Plan, Variables};
use crate::regex::Regex;
use crate::schema::Schema;
use crate::signatures::{self, Declaration, Function, Signature};
use crate::types::{Mapping, Type};
use crate::value::Value;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

impl Checker<'_> {
    pub(super) fn check_call(
        &mut self,
        offset: u32,
        name: &str,
        target: Option<&Expr>,
        arguments: &[Expr],
    ) -> Checked {
        let mut types = Vec::with_capacity(arguments.len() + 1);
        let mut plans = Vec::with_capacity(arguments.len() + 1);
        let is_format = u32::from(name == "format");
        self.format_depth += is_format;
        for argument in arguments {
            let (found, plan) = self.check(argument);
            types.push(found);
            plans.push(plan);
        }
        self.format_depth -= is_format;
        // `a.b.c()` is the function `a.b.c`, or the member `c` of `a.b`.
        let qualified_name = target.and_then(qualified).map(|mut qualified| {
            qualified.push('.');
            qualified.push_str(name);
            qualified
        });
        let mut is_member = target.is_some();
        let mut declaration = signatures::find(name.trim_start_matches('.'));
        if let Some(qualified) = &qualified_name
            && let Some(found) = signatures::find(qualified.trim_start_matches('.'))
        {
            declaration = Some(found);
            is_member = false;
        }
        let undeclared = |name: &str| match signatures::missing(name) {
            Some(library) => {
                format!("undeclared reference to '{name}': admission policies don't have {library}")
            }
            None => match nearest(name, signatures::FUNCTIONS.iter().map(|found| found.name)) {
                Some(near) => {
                    format!("undeclared reference to '{name}'; did you mean '{near}'?")
                }
                None => format!("undeclared reference to '{name}'"),
            },
        };
        if let Some(qualified) = &qualified_name
            && signatures::missing(qualified).is_some()
        {
            return self.error(offset, undeclared(qualified));
        }
        if is_member && let Some(target) = target {
            let (found, plan) = self.check(target);
            types.insert(0, found);
            plans.insert(0, plan);
        }
        if is_member && types.first() == Some(&Type::Error) {
            return (Type::Error, BROKEN);
        }
        let has_patch_types = self.environment.has_patch_types();
        let declaration =
            declaration.filter(|found| found.function != Function::EscapeKey || has_patch_types);
        let Some(declaration) = declaration else {
            return self.error(offset, undeclared(name));
        };
        self.validate_literals(declaration.function, is_member, target, arguments, &types);
        let result = self.resolve(offset, declaration, is_member, &types);
        let plan = self.plan_call(offset, declaration, plans);
        (result, plan)
    }

    /// Finds the overloads that fit, and returns the type of the result.
    pub(super) fn resolve(
        &mut self,
        offset: u32,
        declaration: &Declaration,
        is_member: bool,
        types: &[Type],
    ) -> Type {
        if let Some(found) = self.resolve_hint(offset, declaration.function, types) {
            return found;
        }
        let Some(result) = self.overload(declaration, is_member, types) else {
            let message = no_overload(&self.mapping, declaration.name, is_member, types);
            return self.error(offset, message).0;
        };
        let is_equality = matches!(
            declaration.function,
            Function::Equals | Function::NotEquals | Function::In | Function::Conditional
        );
        if !is_equality && types.iter().any(has_hint) {
            let strict: Vec<_> = types
                .iter()
                .map(|found| strict(&self.mapping.substitute(found, false)))
                .collect();
            let before = self.mapping.clone();
            if self.overload(declaration, is_member, &strict).is_none() {
                let message = no_overload(&self.mapping, declaration.name, is_member, &strict);
                return self.error(offset, message).0;
            }
            self.mapping = before;
        }
        result
    }

    /// Returns the first overload's result, or `dyn` if others that fit have other ones.
    fn overload(
        &mut self,
        declaration: &Declaration,
        is_member: bool,
        types: &[Type],
    ) -> Option<Type> {
        let mut result: Option<Type> = None;
        for text in declaration.signatures {
            let signature = Signature::read(text, &mut self.mapping);
            if signature.is_member != is_member
                || !self.mapping.assign_all(types, &signature.arguments)
            {
                continue;
            }
            let found = self.mapping.substitute(&signature.result, false);
            result = Some(match result {
                None => found,
                Some(result) if result == found || result.is_dyn() => result,
                Some(_) => Type::Dyn,
            });
        }
        result
    }

    /// Returns the schema of an element that is indexed.
    fn resolve_hint(&mut self, offset: u32, function: Function, types: &[Type]) -> Option<Type> {
        let (Function::Index | Function::OptionalIndex, [of, index]) = (function, types) else {
            return None;
        };
        let Type::Hint(schema) = self.mapping.substitute(of, false) else {
            return None;
        };
        let index = self.mapping.substitute(index, true);
        let (element, fits) = match schema {
            Schema::List(element) => (Type::Hint(element), index == Type::Int || index.is_dyn()),
            Schema::Map(value) => (
                Type::Hint(value),
                matches!(index, Type::String) || index.is_dyn(),
            ),
            _ => return None,
        };
        if !fits {
            let message = format!(
                "found no matching overload for '_[_]' applied to '({}, {})'",
                schema.strict().name(),
                index.name()
            );
            return Some(self.error(offset, message).0);
        }
        Some(if function == Function::Index {
            element
        } else {
            Type::optional(element)
        })
    }

    /// Makes the plan of a call: constants are evaluated, and constant patterns are compiled.
    fn plan_call(
        &mut self,
        offset: u32,
        declaration: &'static Declaration,
        plans: Vec<Plan>,
    ) -> Plan {
        let function = declaration.function;
        let pair = |plans: Vec<Plan>| <Box<[Plan; 2]>>::try_from(plans.into_boxed_slice()).ok();
        match function {
            Function::Conditional => {
                return <Box<[Plan; 3]>>::try_from(plans.into_boxed_slice())
                    .map_or(BROKEN, Plan::Conditional);
            }
            Function::Index | Function::OptionalIndex => {
                let is_optional = function == Function::OptionalIndex;
                return pair(plans).map_or(BROKEN, |operands| Plan::Index {
                    operands,
                    is_optional,
                });
            }
            Function::Or | Function::OrValue => {
                let is_value = function == Function::OrValue;
                return pair(plans)
                    .map_or(BROKEN, |operands| Plan::Alternative { operands, is_value });
            }
            Function::Matches | Function::Find | Function::FindAll => {
                if let Some(Plan::Constant(Value::String(pattern))) = plans.get(1) {
                    return match Regex::new(pattern) {
                        Ok(regex) => Plan::Search {
                            function,
                            regex: Box::new(regex),
                            arguments: plans.into(),
                        },
                        Err(problem) => {
                            self.error(
                                offset,
                                format!("invalid {} argument: {problem}", declaration.name),
                            )
                            .1
                        }
                    };
                }
            }
            _ => {}
        }
        let is_constant = plans.iter().all(|plan| matches!(plan, Plan::Constant(_)));
        let plan = Plan::Call {
            function,
            name: declaration.name,
            arguments: plans.into(),
        };
        if !is_constant || !self.errors.is_empty() {
            return plan;
        }
        // A call that fails, or that makes much of little, stays until it is needed.
        let budget = Budget::new(1000);
        match Evaluation::new(&NoVariables, &budget).eval_constant(&plan) {
            Some(Ok(value)) => Plan::Constant(value),
            Some(Err(problem)) if is_conversion(function) => {
                self.error(offset, problem.to_string());
                plan
            }
            _ => plan,
        }
    }
}

/// An evaluation of constants reads no variables.
struct NoVariables;

impl Variables<'static> for NoVariables {
    fn global(&self, _: usize) -> Result<Value<'static>, crate::error::EvalError> {
        Ok(Value::Null)
    }

    fn composed(&self, _: usize) -> Result<Value<'static>, crate::error::EvalError> {
        Ok(Value::Null)
    }
}

/// Returns whether the API server evaluates calls of constants when it stores a policy.
fn is_conversion(function: Function) -> bool {
    matches!(
        function,
        Function::Bool
            | Function::Bytes
            | Function::Double
            | Function::Duration
            | Function::Int
            | Function::String
            | Function::Timestamp
            | Function::Uint
    )
}

fn has_hint(found: &Type) -> bool {
    match found {
        Type::Hint(_) => true,
        Type::List(of) | Type::Optional(of) | Type::Type(of) => has_hint(of),
        Type::Map(entry) => has_hint(&entry.0) || has_hint(&entry.1),
        _ => false,
    }
}

fn no_overload(mapping: &Mapping, name: &str, is_member: bool, types: &[Type]) -> String {
    let mut names = types
        .iter()
        .map(|found| mapping.substitute(found, true).name());
    let target = is_member.then(|| names.next()).flatten();
    let arguments = names.collect::<Vec<_>>().join(", ");
    let applied = match target {
        Some(target) => format!("{target}.({arguments})"),
        None => format!("({arguments})"),
    };
    format!("found no matching overload for '{name}' applied to '{applied}'")
}
