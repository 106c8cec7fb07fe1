//! The evaluation of a plan.
//!
//! Operators behave as cel-go's: `&&` and `||` absorb an error if the other operand decides, and so
//! do `all` and `exists`; every other operation passes the first error on. A fatal error (the
//! budget, the depth) ends everything.

use crate::ast::LoopKind;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::functions;
use crate::program::{LoopPlan, Plan, Variables};
use crate::regex::Regex;
use crate::shared::Shared;
use crate::signatures::Function;
use crate::value::{
    Entry, List, Map, Object, Operation, Str, Value, find_entry, key_text, lookup_steps,
};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// The most arguments that a function takes.
const MAX_ARGUMENTS: usize = 4;

/// An evaluation.
pub(crate) struct Evaluation<'a, 'e> {
    variables: &'e dyn Variables<'a>,
    budget: &'e Budget,
    locals: Vec<Value<'a>>,
}

type Result<T> = core::result::Result<T, EvalError>;

impl<'a, 'e> Evaluation<'a, 'e> {
    pub(crate) fn new(variables: &'e dyn Variables<'a>, budget: &'e Budget) -> Self {
        Self {
            variables,
            budget,
            locals: Vec::new(),
        }
    }

    pub(crate) fn eval(&mut self, plan: &'a Plan) -> Result<Value<'a>> {
        self.budget.spend(1)?;
        match plan {
            Plan::Constant(value) => return Ok(borrowed(value)),
            Plan::Global(index) => return self.variables.global(*index),
            Plan::Local(index) => return Ok(self.locals[*index].clone()),
            _ => {}
        }
        let _deeper = self.budget.enter()?;
        match plan {
            Plan::Select {
                operand,
                field,
                is_optional,
            } => self.select(operand, field, *is_optional),
            Plan::Has { operand, field } => self.has(operand, field),
            Plan::Index {
                operands,
                is_optional,
            } => self.index(operands, *is_optional),
            Plan::Call {
                function,
                name,
                arguments,
            } => self.call(*function, name, arguments),
            Plan::Search {
                function,
                regex,
                arguments,
            } => self.search(*function, regex, arguments),
            Plan::And(terms) => self.logic(terms, false),
            Plan::Or(terms) => self.logic(terms, true),
            Plan::Conditional(branches) => self.conditional(branches),
            Plan::Alternative { operands, is_value } => self.alternative(operands, *is_value),
            Plan::List(elements) => self.list(elements),
            Plan::Map(entries) => self.map(entries),
            Plan::Struct { name, fields } => self.object(name, fields),
            Plan::Loop(found) => self.run(found),
            Plan::Composed(index) => self.variables.composed(*index),
            Plan::Constant(_) | Plan::Global(_) | Plan::Local(_) => Ok(Value::Null),
        }
    }

    fn select(&mut self, operand: &'a Plan, field: &str, is_optional: bool) -> Result<Value<'a>> {
        match self.eval(operand)? {
            // A selection that follows an optional one is optional, too.
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => {
                let found = self.member(&value, field)?;
                Ok(Value::Optional(found.map(Shared::new)))
            }
            value if is_optional => {
                let found = self.member(&value, field)?;
                Ok(Value::Optional(found.map(Shared::new)))
            }
            value => self
                .member(&value, field)?
                .ok_or_else(|| EvalError::no_such_key(field)),
        }
    }

    /// Returns a member of a map or an object, if it is there.
    fn member(&self, value: &Value<'a>, field: &str) -> Result<Option<Value<'a>>> {
        Ok(match value {
            Value::Map(map) => {
                self.budget.spend(lookup_steps(map.len(), field))?;
                map.field(field)
            }
            Value::Object(object) => object.field(field),
            Value::Patch(operation) => operation_field(operation, field),
            Value::List(_) => {
                return Err(EvalError::of("unsupported index type 'string' in list"));
            }
            _ => None,
        })
    }

    fn has(&mut self, operand: &'a Plan, field: &str) -> Result<Value<'a>> {
        let value = match self.eval(operand)? {
            Value::Optional(None) => return Ok(Value::Bool(false)),
            Value::Optional(Some(value)) => (*value).clone(),
            value => value,
        };
        Ok(Value::Bool(self.member(&value, field)?.is_some()))
    }

    fn index(&mut self, operands: &'a [Plan; 2], is_optional: bool) -> Result<Value<'a>> {
        let value = self.eval(&operands[0])?;
        let (value, is_optional) = match value {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => ((*value).clone(), true),
            value => (value, is_optional),
        };
        let index = self.eval(&operands[1])?;
        let found = self.element(&value, &index)?;
        if is_optional {
            return Ok(Value::Optional(found.map(Shared::new)));
        }
        found.ok_or_else(|| {
            let shown = functions::printf::shown(&index);
            EvalError::of(if matches!(value, Value::List(_)) {
                format!("index out of bounds: {shown}")
            } else {
                format!("no such key: {shown}")
            })
        })
    }

    /// Returns an element of a list, or a value of a map, if it is there.
    fn element(&self, value: &Value<'a>, index: &Value<'a>) -> Result<Option<Value<'a>>> {
        match value {
            Value::Map(map) => {
                self.budget
                    .spend(lookup_steps(map.len(), key_text(index)))?;
                Ok(map.find(index))
            }
            Value::List(list) => {
                let index = match index {
                    Value::Int(index) => *index,
                    Value::Uint(index) => i64::try_from(*index).unwrap_or(i64::MAX),
                    Value::Double(index) if *index == *index as i64 as f64 => *index as i64,
                    Value::Double(index) => {
                        return Err(EvalError::of(format!(
                            "unsupported index value {index} in list"
                        )));
                    }
                    other => {
                        return Err(EvalError::of(format!(
                            "unsupported index type '{}' in list",
                            other.type_name()
                        )));
                    }
                };
                let Ok(index) = usize::try_from(index) else {
                    return Ok(None);
                };
                // An element of a document is found by a walk.
                self.budget.spend(index.min(list.len()) as u64 / 4)?;
                Ok(list.get(index))
            }
            Value::Object(_) | Value::Patch(_) => match index {
                Value::String(field) => self.member(value, field),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    #[inline(never)]
    fn call(&mut self, function: Function, name: &str, arguments: &'a [Plan]) -> Result<Value<'a>> {
        let mut values = [const { Value::Null }; MAX_ARGUMENTS];
        for (slot, argument) in values.iter_mut().zip(arguments) {
            *slot = self.eval(argument)?;
        }
        let values = &values[..arguments.len().min(MAX_ARGUMENTS)];
        functions::call(function, name, values, self.budget)
    }

    fn search(
        &mut self,
        function: Function,
        regex: &Regex,
        arguments: &'a [Plan],
    ) -> Result<Value<'a>> {
        let text = match arguments {
            [text, ..] => self.eval(text)?,
            [] => Value::Null,
        };
        let limit = match arguments {
            [_, _, limit] => Some(self.eval(limit)?),
            _ => None,
        };
        functions::search(function, regex, &text, limit.as_ref(), self.budget)
    }

    /// Evaluates `&&` or `||`: one operand decides, whatever errors the others have.
    fn logic(&mut self, terms: &'a [Plan], decides: bool) -> Result<Value<'a>> {
        let mut failure = None;
        for term in terms {
            match self.eval(term) {
                Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => {
                    failure.get_or_insert_with(EvalError::no_such_overload);
                }
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(Value::Bool(!decides)),
        }
    }

    fn conditional(&mut self, branches: &'a [Plan; 3]) -> Result<Value<'a>> {
        match self.eval(&branches[0])? {
            Value::Bool(true) => self.eval(&branches[1]),
            Value::Bool(false) => self.eval(&branches[2]),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn alternative(&mut self, operands: &'a [Plan; 2], is_value: bool) -> Result<Value<'a>> {
        match self.eval(&operands[0])? {
            Value::Optional(Some(value)) if is_value => Ok((*value).clone()),
            Value::Optional(Some(value)) => Ok(Value::Optional(Some(value))),
            Value::Optional(None) => self.eval(&operands[1]),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn list(&mut self, elements: &'a [(Plan, bool)]) -> Result<Value<'a>> {
        self.budget
            .spend_bytes(elements.len() * size_of::<Value<'_>>())?;
        let mut values = Vec::with_capacity(elements.len());
        for (element, is_optional) in elements {
            let value = self.eval(element)?;
            values.extend(unwrapped(value, *is_optional)?);
        }
        Ok(values.into())
    }

    fn map(&mut self, entries: &'a [(Plan, Plan, bool)]) -> Result<Value<'a>> {
        self.budget
            .spend_bytes(entries.len() * size_of::<Entry<'_>>())?;
        let mut values: Vec<Entry<'a>> = Vec::with_capacity(entries.len());
        for (key, value, is_optional) in entries {
            let key = self.eval(key)?;
            let value = self.eval(value)?;
            self.budget
                .spend(lookup_steps(values.len(), key_text(&key)))?;
            // The last of equal keys counts.
            let known = values
                .iter()
                .position(|(found, _)| find_entry(&[(found.clone(), Value::Null)], &key).is_some());
            if let Some(known) = known {
                values.remove(known);
            }
            if let Some(value) = unwrapped(value, *is_optional)? {
                values.push((key, value));
            }
        }
        Ok(Value::Map(Map::Entries(Shared::new(values))))
    }

    fn object(&mut self, name: &str, fields: &'a [(Box<str>, Plan, bool)]) -> Result<Value<'a>> {
        self.budget.spend_bytes(fields.len() * 64)?;
        let mut values: Vec<(Box<str>, Value<'a>)> = Vec::with_capacity(fields.len());
        for (field, plan, is_optional) in fields {
            let value = self.eval(plan)?;
            values.retain(|(known, _)| known != field);
            if let Some(value) = unwrapped(value, *is_optional)? {
                values.push((field.clone(), value));
            }
        }
        if name == "JSONPatch" {
            return operation(values);
        }
        Ok(Value::Object(Shared::new(Object {
            name: name.into(),
            fields: values,
        })))
    }

    #[inline(never)]
    fn run(&mut self, found: &'a LoopPlan) -> Result<Value<'a>> {
        let range = self.eval(&found.range)?;
        if matches!(found.kind, LoopKind::OptMap | LoopKind::OptFlatMap) {
            return self.optional_map(found, range);
        }
        let depth = self.locals.len();
        let mut fold = Fold::new(found.kind);
        let result = match &range {
            Value::List(list) => self.walk_list(list, found, &mut fold),
            Value::Map(map) => self.walk_map(map, found, &mut fold),
            other => Err(EvalError::of(format!(
                "got '{}', expected iterable type",
                other.go_type()
            ))),
        };
        self.locals.truncate(depth);
        match result {
            Ok(()) => fold.finish(range, self.budget),
            Err(error) => Err(error),
        }
    }

    fn walk_list(
        &mut self,
        list: &List<'a>,
        found: &'a LoopPlan,
        fold: &mut Fold<'a>,
    ) -> Result<()> {
        let mut index = 0;
        let mut step = |evaluation: &mut Self, element: Value<'a>| {
            let first = Value::Int(index);
            index += 1;
            if found.has_two {
                evaluation.step(found, fold, first, Some(element))
            } else {
                evaluation.step(found, fold, element, None)
            }
        };
        match list {
            List::Json(node) => {
                for element in node.elements() {
                    if step(self, Value::from(element))? {
                        break;
                    }
                }
            }
            List::Values(values) => {
                for element in values.iter() {
                    if step(self, element.clone())? {
                        break;
                    }
                }
            }
            List::Borrowed(values) => {
                for element in *values {
                    if step(self, element.clone())? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn walk_map(&mut self, map: &Map<'a>, found: &'a LoopPlan, fold: &mut Fold<'a>) -> Result<()> {
        let mut is_done = false;
        map.each(&mut |key, value| {
            if !is_done {
                let second = found.has_two.then_some(value);
                is_done = self.step(found, fold, key, second)?;
            }
            Ok(())
        })
    }

    /// Evaluates the loop for one element. Returns whether the result is certain.
    fn step(
        &mut self,
        found: &'a LoopPlan,
        fold: &mut Fold<'a>,
        first: Value<'a>,
        second: Option<Value<'a>>,
    ) -> Result<bool> {
        self.budget.spend(2)?;
        let depth = self.locals.len();
        self.locals.push(first);
        self.locals.extend(second);
        let certain = self.judge(found, fold, depth);
        self.locals.truncate(depth);
        certain
    }

    fn judge(&mut self, found: &'a LoopPlan, fold: &mut Fold<'a>, depth: usize) -> Result<bool> {
        if let Some(condition) = &found.condition {
            let holds = match self.eval(condition) {
                Ok(Value::Bool(holds)) => Ok(holds),
                Ok(_) => Err(EvalError::no_such_overload()),
                Err(error) => Err(error),
            };
            match (fold.kind, holds) {
                (_, Err(error)) if error.is_fatal() => return Err(error),
                (LoopKind::All | LoopKind::Exists, Err(error)) => {
                    fold.failure.get_or_insert(error);
                    return Ok(false);
                }
                (_, Err(error)) => return Err(error),
                (LoopKind::All, Ok(holds)) => {
                    fold.is_decided = !holds;
                    return Ok(!holds);
                }
                (LoopKind::Exists, Ok(holds)) => {
                    fold.is_decided = holds;
                    return Ok(holds);
                }
                (_, Ok(false)) => return Ok(false),
                (LoopKind::ExistsOne, Ok(true)) => {
                    fold.count += 1;
                    return Ok(false);
                }
                (_, Ok(true)) => {}
            }
        }
        let value = match &found.body {
            Some(body) => self.eval(body)?,
            None => self.locals[depth].clone(),
        };
        self.budget.spend_bytes(size_of::<Value<'_>>())?;
        match fold.kind {
            LoopKind::TransformMap => {
                let key = self.locals[depth].clone();
                fold.insert(key, value, self.budget)?;
            }
            LoopKind::TransformMapEntry => match value {
                Value::Map(map) => {
                    let mut entries = Vec::with_capacity(map.len());
                    map.each(&mut |key, value| {
                        entries.push((key, value));
                        Ok(())
                    })?;
                    for (key, value) in entries {
                        fold.insert(key, value, self.budget)?;
                    }
                }
                _ => return Err(EvalError::no_such_overload()),
            },
            _ => fold.values.push(value),
        }
        Ok(false)
    }

    fn optional_map(&mut self, found: &'a LoopPlan, range: Value<'a>) -> Result<Value<'a>> {
        let Value::Optional(value) = range else {
            return Err(EvalError::no_such_overload());
        };
        let (Some(value), Some(body)) = (value, &found.body) else {
            return Ok(Value::Optional(None));
        };
        let depth = self.locals.len();
        self.locals.push((*value).clone());
        let result = self.eval(body);
        self.locals.truncate(depth);
        let result = result?;
        Ok(if found.kind == LoopKind::OptMap {
            Value::some(result)
        } else {
            result
        })
    }
}

impl Evaluation<'static, '_> {
    /// Evaluates a call of constants. The plan lives shorter than its value. None: it is none.
    pub(crate) fn eval_constant(&mut self, plan: &Plan) -> Option<Result<Value<'static>>> {
        let Plan::Call {
            function,
            name,
            arguments,
        } = plan
        else {
            return None;
        };
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let Plan::Constant(value) = argument else {
                return None;
            };
            values.push(value.clone());
        }
        Some(functions::call(*function, name, &values, self.budget))
    }
}

/// The intermediate result of a loop.
struct Fold<'a> {
    kind: LoopKind,
    /// The first error of `all` and `exists`, which a later element may make void.
    failure: Option<EvalError>,
    is_decided: bool,
    count: usize,
    values: Vec<Value<'a>>,
    entries: Vec<Entry<'a>>,
}

impl<'a> Fold<'a> {
    fn new(kind: LoopKind) -> Self {
        Self {
            kind,
            failure: None,
            is_decided: false,
            count: 0,
            values: Vec::new(),
            entries: Vec::new(),
        }
    }

    fn insert(&mut self, key: Value<'a>, value: Value<'a>, budget: &Budget) -> Result<()> {
        budget.spend(2 + lookup_steps(self.entries.len(), key_text(&key)))?;
        if find_entry(&self.entries, &key).is_some() {
            return Err(EvalError::of(format!(
                "insert failed: key {} already exists",
                functions::printf::shown(&key)
            )));
        }
        self.entries.push((key, value));
        Ok(())
    }

    fn finish(self, range: Value<'a>, budget: &Budget) -> Result<Value<'a>> {
        match self.kind {
            LoopKind::All | LoopKind::Exists => match self.failure {
                Some(error) if !self.is_decided => Err(error),
                _ => Ok(Value::Bool(
                    self.is_decided == (self.kind == LoopKind::Exists),
                )),
            },
            LoopKind::ExistsOne => Ok(Value::Bool(self.count == 1)),
            LoopKind::TransformMap | LoopKind::TransformMapEntry => {
                Ok(Value::Map(Map::Entries(Shared::new(self.entries))))
            }
            LoopKind::SortBy => match range {
                Value::List(list) => {
                    let keys = List::Values(Shared::new(self.values));
                    functions::lists::sort_by(&list, &keys, budget)
                }
                _ => Err(EvalError::no_such_overload()),
            },
            _ => Ok(self.values.into()),
        }
    }
}

/// Returns a constant without sharing it, so that an evaluation writes nothing to the program.
fn borrowed<'a>(value: &'a Value<'static>) -> Value<'a> {
    match value {
        Value::String(text) => Value::String(Str::Borrowed(text)),
        Value::List(List::Values(values)) => Value::List(List::Borrowed(values)),
        Value::Type(name) => Value::Type(name.clone()),
        other => other.clone(),
    }
}

/// Returns the value within an optional element; none if it has none.
fn unwrapped<'a>(value: Value<'a>, is_optional: bool) -> Result<Option<Value<'a>>> {
    match value {
        value if !is_optional => Ok(Some(value)),
        Value::Optional(value) => Ok(value.map(|value| (*value).clone())),
        other => Err(EvalError::of(format!(
            "cannot initialize optional list element from non-optional value {}",
            functions::printf::shown(&other)
        ))),
    }
}

fn operation<'a>(fields: Vec<(Box<str>, Value<'a>)>) -> Result<Value<'a>> {
    let empty = || Str::Borrowed("");
    let mut found = Operation {
        op: empty(),
        path: empty(),
        from: empty(),
        value: None,
    };
    for (name, value) in fields {
        let slot = match &*name {
            "op" => &mut found.op,
            "path" => &mut found.path,
            "from" => &mut found.from,
            _ => {
                found.value = Some(value);
                continue;
            }
        };
        match value {
            Value::String(text) => *slot = text,
            other => {
                return Err(EvalError::of(format!(
                    "unexpected type {} for JSONPatchType '{name}' field",
                    other.type_name()
                )));
            }
        }
    }
    Ok(Value::Patch(Shared::new(found)))
}

fn operation_field<'a>(operation: &Operation<'a>, field: &str) -> Option<Value<'a>> {
    let text = |text: &Str<'a>| (!text.is_empty()).then(|| Value::String(text.clone()));
    match field {
        "op" => text(&operation.op),
        "path" => text(&operation.path),
        "from" => text(&operation.from),
        "value" => operation.value.clone(),
        _ => None,
    }
}

/// Shows a value in tests and messages.
impl core::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let shown: String = functions::printf::shown(self).to_string();
        write!(f, "{}:{shown}", self.type_name())
    }
}
