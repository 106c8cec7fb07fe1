//! The checker: names, types and overloads, as cel-go's checker finds them, and the plan of the
//! evaluation.
//!
//! What the API server refuses when it stores an admission policy is refused here. Beyond that, a
//! field that no Service has is an error, and so is a call that fails for every Service: the
//! checker knows the schema of what is dynamic to the API server ([`Type::Hint`]).

use crate::ast::{Element, Expr, Field, Kind, Loop, LoopKind, Pair};
use crate::budget::Budget;
use crate::environment::Environment;
use crate::error::CompileError;
use crate::eval::Evaluation;
use crate::functions::{part_of, printf, time};
use crate::parser::qualified;
use crate::program::{LoopPlan, Plan, Program, Uses, Variables};
use crate::regex::Regex;
use crate::schema::{Object, Schema};
use crate::signatures::{self, Declaration, Function, Signature};
use crate::types::{Mapping, Opaque, Type, most_general};
use crate::value::{Str, TypeName, Value};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
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

    fn check_select(
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

    fn check_has(&mut self, offset: u32, operand: &Expr, field: &str) -> Checked {
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

    /// Checks that the elements of each list and map are of one type, now that all are known.
    fn check_alike(&mut self) {
        for (offset, first, found) in core::mem::take(&mut self.alike) {
            let first = self.mapping.substitute(&first, true).name();
            let found = self.mapping.substitute(&found, true).name();
            if first != found {
                self.error(
                    offset,
                    format!(
                        "expected type '{first}' but found '{found}'; wrap all in dyn() to mix"
                    ),
                );
            }
        }
    }

    fn must_be_alike(&mut self, offset: u32, first: &Option<Type>, found: &Type) {
        if let Some(first) = first
            && self.format_depth == 0
        {
            self.alike.push((offset, first.clone(), found.clone()));
        }
    }

    fn check_list(&mut self, elements: &[Element]) -> Checked {
        let mut joined: Option<Type> = None;
        let mut first = None;
        let mut plans = Vec::with_capacity(elements.len());
        for element in elements {
            let (found, plan) = self.check(&element.value);
            let found = self.unwrapped(&element.value, found, element.is_optional);
            self.must_be_alike(element.value.offset, &first, &found);
            first.get_or_insert_with(|| found.clone());
            joined = Some(self.join(joined, found));
            plans.push((plan, element.is_optional));
        }
        let element = joined.unwrap_or_else(|| self.mapping.fresh());
        let constants: Option<Vec<_>> = plans
            .iter()
            .map(|(plan, is_optional)| match plan {
                Plan::Constant(value) if !is_optional => Some(value.clone()),
                _ => None,
            })
            .collect();
        let plan = match constants {
            Some(values) => Plan::Constant(values.into()),
            None => Plan::List(plans.into()),
        };
        (Type::list(element), plan)
    }

    fn check_map(&mut self, pairs: &[Pair]) -> Checked {
        let (mut keys, mut values): (Option<Type>, Option<Type>) = (None, None);
        let (mut first_key, mut first_value) = (None, None);
        let mut plans = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let (found, key) = self.check(&pair.key);
            self.must_be_alike(pair.key.offset, &first_key, &found);
            first_key.get_or_insert_with(|| found.clone());
            keys = Some(self.join(keys, found));
            let (found, value) = self.check(&pair.value);
            let found = self.unwrapped(&pair.value, found, pair.is_optional);
            self.must_be_alike(pair.value.offset, &first_value, &found);
            first_value.get_or_insert_with(|| found.clone());
            values = Some(self.join(values, found));
            plans.push((key, value, pair.is_optional));
        }
        let key = keys.unwrap_or_else(|| self.mapping.fresh());
        let value = values.unwrap_or_else(|| self.mapping.fresh());
        (Type::map(key, value), Plan::Map(plans.into()))
    }

    /// Returns the type within an optional element.
    fn unwrapped(&mut self, expr: &Expr, found: Type, is_optional: bool) -> Type {
        if !is_optional {
            return found;
        }
        match found {
            Type::Optional(of) => *of,
            found if found.is_dyn_or_error() => found,
            found => {
                let name = found.name();
                let message = format!("expected type 'optional_type({name})' but found '{name}'");
                self.error(expr.offset, message).0
            }
        }
    }

    /// Joins the types of elements.
    fn join(&mut self, before: Option<Type>, found: Type) -> Type {
        match before {
            None => found,
            Some(before) if self.mapping.assign(&before, &found) => most_general(&before, &found),
            Some(_) => Type::Dyn,
        }
    }

    fn check_struct(&mut self, offset: u32, name: &str, fields: &[Field]) -> Checked {
        let is_patch = name == "JSONPatch";
        let is_object = name == "Object" || name.starts_with("Object.");
        if !self.environment.has_patch_types() || !is_patch && !is_object {
            let hint = if is_patch || is_object {
                "; it is for mutations only"
            } else {
                ""
            };
            return self.error(offset, format!("undeclared reference to '{name}'{hint}"));
        }
        let mut plans = Vec::with_capacity(fields.len());
        for field in fields {
            let (found, plan) = self.check(&field.value);
            let found = self.unwrapped(&field.value, found, field.is_optional);
            let expected = match field.name.as_str() {
                "op" | "path" | "from" if is_patch => Some(Type::String),
                "value" if is_patch => None,
                _ if is_object => None,
                other => {
                    let message = format!(
                        "undefined field '{other}'; a JSONPatch has op, path, from and value"
                    );
                    self.error(field.offset, message);
                    None
                }
            };
            if let Some(expected) = expected
                && !self.mapping.assign(&expected, &found)
            {
                let message = format!(
                    "expected type of field '{}' is '{}' but provided type is '{}'",
                    field.name,
                    expected.name(),
                    self.mapping.substitute(&found, true).name()
                );
                self.error(field.offset, message);
            }
            plans.push((field.name.as_str().into(), plan, field.is_optional));
        }
        let found = if is_patch {
            Type::Opaque(Opaque::JsonPatch)
        } else {
            Type::Mutation(name.into())
        };
        let plan = Plan::Struct {
            name: name.into(),
            fields: plans.into(),
        };
        (found, plan)
    }

    fn check_call(
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
    fn resolve(
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

    /// Checks constant arguments that the API server checks, too.
    fn validate_literals(
        &mut self,
        function: Function,
        is_member: bool,
        target: Option<&Expr>,
        arguments: &[Expr],
        types: &[Type],
    ) {
        match (function, arguments) {
            (Function::Duration, [argument]) => {
                if let Kind::String(text) = &argument.kind
                    && time::parse_duration(text).is_none()
                {
                    self.error(argument.offset, "invalid duration argument");
                }
            }
            (Function::Timestamp, [argument]) => {
                if let Kind::String(text) = &argument.kind
                    && !matches!(time::Timestamp::parse(text), Some(Ok(_)))
                {
                    self.error(argument.offset, "invalid timestamp argument");
                }
            }
            // An API server knows named zones, too: better no policy than one that fails later.
            (function, [argument]) if part_of(function).is_some() => {
                if let Kind::String(zone) = &argument.kind
                    && !time::is_known_zone(zone)
                {
                    self.error(argument.offset, time::unknown_zone(zone));
                }
            }
            (Function::Format, [argument]) if is_member => {
                if let Some(Kind::String(format)) = target.map(|target| &target.kind)
                    && let Kind::List(elements) = &argument.kind
                {
                    self.validate_format(argument.offset, format, elements, &types[1..]);
                }
            }
            _ => {}
        }
    }

    fn validate_format(&mut self, offset: u32, format: &str, elements: &[Element], types: &[Type]) {
        let pieces = match printf::pieces(format) {
            Ok(pieces) => pieces,
            Err(problem) => {
                self.error(offset, problem);
                return;
            }
        };
        let clauses: Vec<_> = pieces
            .iter()
            .filter_map(|piece| match piece {
                printf::Piece::Clause(clause) => Some(clause.verb),
                printf::Piece::Text(_) => None,
            })
            .collect();
        if clauses.len() > elements.len() {
            self.error(offset, format!("index {} out of range", elements.len()));
            return;
        }
        if clauses.len() < elements.len() {
            let message = format!(
                "too many arguments supplied to string.format (expected {}, got {})",
                clauses.len(),
                elements.len()
            );
            self.error(offset, message);
            return;
        }
        let Some(Type::List(element)) = types
            .first()
            .map(|found| self.mapping.substitute(found, true))
        else {
            return;
        };
        let element = strict(&element);
        for (verb, argument) in clauses.iter().zip(elements) {
            if !printf_takes(*verb, &element) {
                let message = verb.refuses(&element.name());
                self.error(argument.value.offset, message);
                return;
            }
        }
    }

    fn check_loop(&mut self, offset: u32, found: &Loop) -> Checked {
        let (range, range_plan) = self.check(&found.range);
        let range = self.mapping.substitute(&range, false);
        if matches!(found.kind, LoopKind::OptMap | LoopKind::OptFlatMap) {
            return self.check_optional_map(found, &range, range_plan);
        }
        let (first, second) = self.elements(found.range.offset, &range, found.second.is_some());
        let depth = self.locals.len();
        self.locals.push((found.variable.clone(), first.clone()));
        if let (Some(name), Some(second)) = (&found.second, &second) {
            self.locals.push((name.clone(), second.clone()));
        }
        let condition = found.condition.as_ref().map(|condition| {
            let (found, plan) = self.check(condition);
            self.expect(condition.offset, &found, &Type::Bool);
            plan
        });
        let body = found.body.as_ref().map(|body| self.check(body));
        self.locals.truncate(depth);
        let (body_type, body) = match body {
            Some((found, plan)) => (found, Some(plan)),
            None => (Type::Dyn, None),
        };
        let result = match found.kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Type::Bool,
            LoopKind::Filter => Type::list(first),
            LoopKind::Map => Type::list(body_type),
            LoopKind::TransformMap => Type::map(first, body_type),
            LoopKind::TransformMapEntry => {
                let expected = Type::map(self.mapping.fresh(), self.mapping.fresh());
                self.expect(offset, &body_type, &expected);
                expected
            }
            LoopKind::SortBy => self.sort_by(offset, &range, body_type),
            LoopKind::OptMap | LoopKind::OptFlatMap => Type::Error,
        };
        let plan = Plan::Loop(Box::new(LoopPlan {
            kind: found.kind,
            range: range_plan,
            has_two: found.second.is_some(),
            condition,
            body,
        }));
        (self.mapping.substitute(&result, false), plan)
    }

    fn sort_by(&mut self, offset: u32, range: &Type, key: Type) -> Type {
        let types = [range.clone(), Type::list(key)];
        match signatures::find("@sortByAssociatedKeys") {
            Some(declaration) => self.resolve(offset, declaration, true, &types),
            None => Type::Error,
        }
    }

    /// Returns the types of a loop's variables.
    fn elements(&mut self, offset: u32, range: &Type, has_two: bool) -> (Type, Option<Type>) {
        match range {
            Type::List(element) if has_two => (Type::Int, Some((**element).clone())),
            Type::List(element) => ((**element).clone(), None),
            Type::Map(entry) => (entry.0.clone(), has_two.then(|| entry.1.clone())),
            Type::Hint(Schema::List(element)) if has_two => (Type::Dyn, Some(Type::Hint(element))),
            Type::Hint(Schema::List(element)) => (Type::Hint(element), None),
            Type::Hint(Schema::Map(value)) => (
                Type::Hint(&Schema::String),
                has_two.then_some(Type::Hint(value)),
            ),
            Type::Hint(Schema::String | Schema::Int | Schema::Bool) => {
                let name = strict(range).name();
                self.not_a_range(offset, &name);
                (Type::Error, has_two.then_some(Type::Error))
            }
            Type::Dyn | Type::Hint(_) | Type::Error | Type::Var(_) => {
                self.mapping.assign(&Type::Dyn, range);
                (Type::Dyn, has_two.then_some(Type::Dyn))
            }
            other => {
                self.not_a_range(offset, &other.name());
                (Type::Error, has_two.then_some(Type::Error))
            }
        }
    }

    fn not_a_range(&mut self, offset: u32, name: &str) {
        let message = format!(
            "expression of type '{name}' cannot be range of a comprehension (must be list, map, or \
             dynamic)"
        );
        self.error(offset, message);
    }

    /// `optMap` and `optFlatMap`: one evaluation, if there is a value.
    fn check_optional_map(&mut self, found: &Loop, range: &Type, range_plan: Plan) -> Checked {
        let of = self.mapping.fresh();
        self.expect(found.range.offset, range, &Type::optional(of.clone()));
        let depth = self.locals.len();
        let of = self.mapping.substitute(&of, false);
        self.locals.push((found.variable.clone(), of));
        let body = found
            .body
            .as_ref()
            .map(|body| (body.offset, self.check(body)));
        self.locals.truncate(depth);
        let Some((offset, (body_type, body))) = body else {
            return (Type::Error, BROKEN);
        };
        let result = if found.kind == LoopKind::OptMap {
            Type::optional(body_type)
        } else {
            let expected = Type::optional(self.mapping.fresh());
            self.expect(offset, &body_type, &expected);
            self.mapping.substitute(&expected, false)
        };
        let plan = Plan::Loop(Box::new(LoopPlan {
            kind: found.kind,
            range: range_plan,
            has_two: false,
            condition: None,
            body: Some(body),
        }));
        (result, plan)
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

fn constant_text(text: &str) -> Plan {
    Plan::Constant(Value::String(Str::Shared(text.into())))
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

/// Returns whether a clause of a format can write a type.
fn printf_takes(verb: printf::Verb, found: &Type) -> bool {
    use printf::Verb;
    if matches!(found, Type::Dyn | Type::Error | Type::Var(_)) {
        return true;
    }
    match verb {
        Verb::Text => !matches!(
            found,
            Type::Opaque(_) | Type::Optional(_) | Type::Object(_) | Type::Mutation(_)
        ),
        Verb::Decimal | Verb::Octal => matches!(found, Type::Int | Type::Uint),
        Verb::Fixed | Verb::Scientific => matches!(found, Type::Double | Type::String),
        Verb::Binary => matches!(found, Type::Int | Type::Uint | Type::Bool),
        Verb::Hex | Verb::UpperHex => {
            matches!(found, Type::Int | Type::Uint | Type::String | Type::Bytes)
        }
    }
}

fn has_hint(found: &Type) -> bool {
    match found {
        Type::Hint(_) => true,
        Type::List(of) | Type::Optional(of) | Type::Type(of) => has_hint(of),
        Type::Map(entry) => has_hint(&entry.0) || has_hint(&entry.1),
        _ => false,
    }
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

/// Returns the known name that is nearest to a name, if it is near.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<String> {
    let near = known
        .filter(|known| known.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map(|known| (distance(name, known), known))
        .min()?;
    (near.0 <= 2 && near.0 * 2 < name.len()).then(|| near.1.to_string())
}

/// Counts the letters to change, add or take off, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = before + usize::from(!x.eq_ignore_ascii_case(y));
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let known = || ["startsWith", "size", "nodePort"].into_iter();
        assert_eq!(nearest("startWith", known()), Some("startsWith".to_owned()));
        assert_eq!(nearest("nodeport", known()), Some("nodePort".to_owned()));
        assert_eq!(nearest("replicas", known()), None);
    }
}
