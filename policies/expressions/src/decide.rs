//! From the values of expressions to a verdict, as the API server decides.

use crate::compile::{Expression, Rule, Rules};
use crate::context::{Context, Objects, budget};
use sallyport_cel::{EvalError, Value};
use sallyport_policy::prelude::*;

/// The longest message that an expression may make, as in Kubernetes.
const MAX_MESSAGE: usize = 5 * 1024;

/// The rule of an expression without a value. It differs from those of validations, so that a suite
/// that expects a denial by a rule does not pass on an error.
const FAILED: &str = "C0";

/// Judges a review.
pub(crate) fn validate(rules: &Rules, review: &Review) -> Verdict {
    if !rules.requests.iter().any(|requests| requests.has(review)) {
        return Verdict::allow();
    }
    let budget = budget();
    let objects = match Objects::of(review) {
        Ok(objects) => objects,
        // The host has parsed the object before.
        Err(error) => return failed(rules, &format!("the object is no JSON: {error}")),
    };
    let context = Context::new(rules, review, &objects, &budget);
    match matches(rules, &context) {
        Ok(true) => {}
        Ok(false) => return Verdict::allow(),
        Err(message) => return failed(rules, &message),
    }
    let mut verdict = match judge(rules, &context) {
        Ok(verdict) => verdict,
        Err(fatal) => return failed(rules, &fatal),
    };
    annotate(rules, &context, &mut verdict);
    verdict
}

/// Returns a verdict about an expression without a value.
fn failed(rules: &Rules, message: &str) -> Verdict {
    if rules.ignores_failures {
        return Verdict::allow();
    }
    Verdict::deny(Violation::new(FAILED, "", message))
}

/// Returns whether all match conditions are true. One that is false decides, whatever errors the
/// others have.
pub(crate) fn matches<'a>(rules: &'a Rules, context: &Context<'a>) -> Result<bool, String> {
    let mut failures = vec![];
    for condition in &rules.conditions {
        match evaluate(condition, context) {
            Ok(Value::Bool(false)) => return Ok(false),
            Ok(_) => {}
            Err(error) => failures.push(error.message),
        }
    }
    match failures.as_slice() {
        [] => Ok(true),
        _ if rules.ignores_failures => Ok(false),
        [only] => Err(only.clone()),
        _ => Err(format!("[{}]", failures.join(", "))),
    }
}

/// An error of an expression.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) is_fatal: bool,
}

/// Evaluates an expression. An error names it, as the API server's does.
pub(crate) fn evaluate<'a>(
    expression: &'a Expression,
    context: &Context<'a>,
) -> Result<Value<'a>, Failure> {
    let value = expression.program.evaluate(context, context.budget);
    value.map_err(|error: EvalError| Failure {
        message: format!(
            "expression '{}' resulted in error: {error}",
            expression.source
        ),
        is_fatal: error.is_fatal(),
    })
}

/// Judges by all validations. The error is a message: the budget is used up.
fn judge<'a>(rules: &'a Rules, context: &Context<'a>) -> Result<Verdict, String> {
    let mut verdict = Verdict::allow();
    for rule in &rules.validations {
        match evaluate(&rule.expression, context) {
            Ok(Value::Bool(true)) => {}
            Ok(_) => {
                let message = message(rule, context)?;
                verdict.add(Violation::new(&rule.id, &rule.field, message).key(key(rule, context)));
            }
            Err(failure) if failure.is_fatal => return Err(failure.message),
            Err(_) if rules.ignores_failures => {}
            Err(failure) => {
                verdict.add(Violation::new(FAILED, &rule.field, failure.message));
            }
        }
    }
    Ok(verdict)
}

/// Returns the message of a validation that is false: that of `messageExpression`, else `message`,
/// else the expression itself.
fn message<'a>(rule: &'a Rule, context: &Context<'a>) -> Result<String, String> {
    if let Some(expression) = &rule.message_expression {
        match evaluate(expression, context) {
            Ok(Value::String(text)) => {
                let text = text.trim();
                if !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n') {
                    return Ok(text.to_owned());
                }
            }
            Err(failure) if failure.is_fatal => return Err(failure.message),
            _ => {}
        }
    }
    Ok(match &rule.message {
        Some(message) => message.clone(),
        None => format!("failed expression: {}", rule.expression.source.trim()),
    })
}

/// Returns the key of a violation. Without one, no update may keep it.
fn key<'a>(rule: &'a Rule, context: &Context<'a>) -> String {
    match rule.key.as_ref().map(|key| evaluate(key, context)) {
        Some(Ok(Value::String(text))) => (*text).to_owned(),
        _ => String::new(),
    }
}

/// Adds the audit annotations. As in Kubernetes, one without a value denies.
fn annotate<'a>(rules: &'a Rules, context: &Context<'a>, verdict: &mut Verdict) {
    for annotation in &rules.annotations {
        match evaluate(&annotation.expression, context) {
            Ok(Value::String(text)) => {
                let text = text.trim();
                if !text.is_empty() {
                    let pair = (annotation.name.clone(), text.to_owned());
                    verdict.audit_annotations.push(pair);
                }
            }
            Ok(_) => {}
            Err(_) if rules.ignores_failures => {}
            Err(failure) => {
                verdict.add(Violation::new(FAILED, "", failure.message));
            }
        }
    }
}
