//! Evaluates CEL as an API server does: the language with Kubernetes' functions.

use kube_cel::KubeCelExt as _;
pub(crate) use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, ExecutionError, Program};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

/// Evaluates an expression. Errors are those of parsing and of evaluation.
pub(crate) fn evaluate(expression: &str, variables: &[(&str, &Value)]) -> Result<Cel, String> {
    let mut context = Context::default().with_all();
    context.add_function("dyn", |value: Cel| Ok::<Cel, ExecutionError>(value));
    for (name, value) in variables {
        context.add_variable_from_value(*name, cel(value));
    }
    let program = compiled(expression)?;
    program
        .execute(&context)
        .map_err(|error| format!("{expression}: {error}"))
}

/// Replaces `variables.NAME` by the expression of that name, which has the same effect as an API
/// server's lazy evaluation.
pub(crate) fn with_variables(expression: &str, variables: &Value) -> String {
    let mut expression = expression.to_owned();
    // In reverse order, since later variables use earlier ones.
    for variable in variables.as_array().into_iter().flatten().rev() {
        let text = |key: &str| variable[key].as_str().expect("a text");
        expression = replaced(
            &expression,
            &format!("variables.{}", text("name")),
            text("expression"),
        );
    }
    expression
}

fn replaced(text: &str, name: &str, expression: &str) -> String {
    let mut parts = text.split(name);
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // The name is only the beginning of a longer one.
        if part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            replaced.push_str(name);
        } else {
            replaced.push_str(&format!("({expression})"));
        }
        replaced.push_str(part);
    }
    replaced
}

/// Compiles each expression once, since the parser takes longer than everything else.
fn compiled(expression: &str) -> Result<Arc<Program>, String> {
    static PROGRAMS: LazyLock<Mutex<HashMap<String, Arc<Program>>>> = LazyLock::new(Mutex::default);
    let mut programs = PROGRAMS.lock().expect("no panic");
    if let Some(program) = programs.get(expression) {
        return Ok(Arc::clone(program));
    }
    let program = Program::compile(expression).map_err(|error| format!("{expression}: {error}"))?;
    Ok(Arc::clone(
        programs
            .entry(expression.to_owned())
            .or_insert(Arc::new(program)),
    ))
}

/// Converts a value as an API server does: whole numbers are `int`, whatever their sign.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Cel::Int(whole),
            None => Cel::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(cel).collect())),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| (Key::String(Arc::new(key.clone())), cel(value)));
            Cel::Map(Map {
                map: Arc::new(members.collect()),
            })
        }
    }
}
