//! Mutations: JSON patches that expressions make.
//!
//! Each operation is applied here, in the way of RFC 6902, so that the next expression sees the
//! result, and an operation that doesn't fit is found before the host sees it. A patch that changes
//! nothing is none: that keeps `add` idempotent.

use crate::compile::{Expression, Rules};
use crate::context::{Context, Objects, budget};
use crate::decide::{evaluate, matches};
use crate::tree::Tree;
use sallyport_cel::json::Document;
use sallyport_cel::{Budget, Operation as PatchStep, Value};
use sallyport_policy::prelude::*;
use sallyport_policy::verdict::{PatchOperation, PatchValue};

/// The characters of a warning; API servers cut it after about 256.
const MAX_WARNING: usize = 200;

/// Patches the object of a review. `mutate` never denies: what the API server would deny for is a
/// warning.
pub(crate) fn mutate(rules: &Rules, review: &Review) -> Mutation {
    if !rules.requests.iter().any(|requests| requests.has(review)) {
        return Mutation::default();
    }
    let budget = budget();
    let Ok(objects) = Objects::of(review) else {
        return warning(rules, "the object is no JSON");
    };
    let context = Context::new(rules, review, &objects, &budget);
    match matches(rules, &context) {
        Ok(true) => {}
        Ok(false) => return Mutation::default(),
        Err(message) => return warning(rules, &message),
    }
    let Some(text) = &review.object else {
        return Mutation::default();
    };
    let Ok(document) = Document::parse(text) else {
        return Mutation::default();
    };
    let mut state = State {
        original: Tree::of(document.root()),
        object: Tree::of(document.root()),
        operations: vec![],
        warnings: vec![],
    };
    for mutation in &rules.mutations {
        state.apply(rules, review, &objects, mutation, &budget);
    }
    state.finish()
}

fn warning(rules: &Rules, message: &str) -> Mutation {
    let mut mutation = Mutation::default();
    if !rules.ignores_failures {
        mutation.warnings.push(shortened(message));
    }
    mutation
}

fn shortened(message: &str) -> String {
    let message = format!("not patched: {message}");
    match message.char_indices().nth(MAX_WARNING) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

struct State {
    original: Tree,
    object: Tree,
    operations: Vec<PatchOperation>,
    warnings: Vec<String>,
}

impl State {
    /// Evaluates one mutation, and applies its patch, all of it or nothing.
    fn apply(
        &mut self,
        rules: &Rules,
        review: &Review,
        objects: &Objects<'_>,
        mutation: &Expression,
        budget: &Budget,
    ) {
        let text = self.object.text();
        let Ok(document) = Document::parse(&text) else {
            return;
        };
        let patched = objects.with_object(document);
        let context = Context::patched(rules, review, &patched, budget);
        let value = match evaluate(mutation, &context) {
            Ok(Value::List(list)) => list.to_vec(),
            Ok(_) => return,
            Err(failure) => return self.warn(rules, &failure.message),
        };
        let mut object = self.object.clone();
        let mut operations = vec![];
        for step in value {
            let Value::Patch(step) = step else {
                return self.warn(rules, "a mutation makes a list of JSONPatch");
            };
            match step_of(&step, &mut object, &mut operations) {
                Ok(true) => {}
                // A failed test: the API server leaves the object as it is.
                Ok(false) => return,
                Err(problem) => return self.warn(rules, &problem),
            }
        }
        if object.is_same(&self.object) {
            return;
        }
        self.object = object;
        self.operations.append(&mut operations);
    }

    fn warn(&mut self, rules: &Rules, message: &str) {
        if !rules.ignores_failures {
            self.warnings.push(shortened(message));
        }
    }

    fn finish(self) -> Mutation {
        Mutation {
            patch: if self.object.is_same(&self.original) {
                vec![]
            } else {
                self.operations
            },
            warnings: self.warnings,
            ..Mutation::default()
        }
    }
}

/// Applies one operation. Returns whether the patch goes on.
fn step_of(
    step: &PatchStep<'_>,
    object: &mut Tree,
    operations: &mut Vec<PatchOperation>,
) -> Result<bool, String> {
    let (path, from) = (&*step.path, &*step.from);
    let misses = |path: &str| format!("JSON Patch: {} of {path}: no such path", &*step.op);
    let value = || match &step.value {
        Some(value) => {
            check_names(value, None)?;
            Tree::of_value(value).map_err(|error| error.to_string())
        }
        None => Ok(Tree::Null),
    };
    let add = |value: &Tree| {
        PatchOperation::Add(PatchValue {
            path: path.to_owned(),
            value: value.text(),
        })
    };
    match &*step.op {
        "add" => {
            let value = value()?;
            operations.push(add(&value));
            object.add(path, value).ok_or_else(|| misses(path))?;
        }
        "replace" => {
            let value = value()?;
            operations.push(PatchOperation::Replace(PatchValue {
                path: path.to_owned(),
                value: value.text(),
            }));
            object.replace(path, value).ok_or_else(|| misses(path))?;
        }
        "remove" => {
            operations.push(PatchOperation::Remove(path.to_owned()));
            object.remove(path).ok_or_else(|| misses(path))?;
        }
        "copy" => {
            let value = object.get(from).cloned().ok_or_else(|| misses(from))?;
            operations.push(add(&value));
            object.add(path, value).ok_or_else(|| misses(path))?;
        }
        "move" => {
            let value = object.remove(from).ok_or_else(|| misses(from))?;
            operations.push(PatchOperation::Remove(from.to_owned()));
            operations.push(add(&value));
            object.add(path, value).ok_or_else(|| misses(path))?;
        }
        "test" => {
            let value = value()?;
            let found = object.get(path);
            return Ok(found.is_some_and(|found| found.is_same(&value)));
        }
        other => {
            return Err(format!("JSON Patch: unexpected kind: {other}"));
        }
    }
    Ok(true)
}

/// Checks that the names of nested objects spell their paths: `Object.spec{ports: …}` holds
/// `Object.spec.ports`.
fn check_names(value: &Value<'_>, expected: Option<&str>) -> Result<(), String> {
    match value {
        Value::Object(object) => {
            if let Some(expected) = expected
                && *object.name != *expected
            {
                return Err(format!(
                    "unexpected type name {:?}, expected {expected:?}, which matches field name \
                     path from root Object type",
                    object.name
                ));
            }
            for (name, field) in &object.fields {
                check_names(field, Some(&format!("{}.{name}", object.name)))?;
            }
        }
        Value::List(list) => {
            for element in list.to_vec() {
                check_names(&element, expected)?;
            }
        }
        Value::Map(map) => {
            let mut checked = Ok(());
            let walked = map.each(&mut |_, value| {
                if checked.is_ok() {
                    checked = check_names(&value, expected);
                }
                Ok(())
            });
            walked.map_err(|error| error.to_string())?;
            checked?;
        }
        _ => {}
    }
    Ok(())
}
