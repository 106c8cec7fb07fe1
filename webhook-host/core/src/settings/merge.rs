//! Merges a manifest's settings over a policy's defaults.
//!
//! Records merge, everything else replaces. All errors of one manifest are found in one go, each
//! with its path and what is allowed there.

use super::{Integer, Record, Type, Value, case_name, manifest_name};
use crate::decode::{DecodeError, describe, join, suggestion};
use serde_json::{Map, Number, Value as Json};

/// All errors of a value; paths begin at the settings.
pub type Errors = Vec<DecodeError>;

/// Merges a manifest's settings over the policy's defaults.
///
/// # Errors
///
/// Every value that the type does not allow.
pub fn merge(
    settings: &Record,
    defaults: &Value,
    written: &Map<String, Json>,
) -> Result<Value, Errors> {
    merge_record(settings, Some(defaults), written, "")
}

/// Returns all values, or all errors.
fn all<T>(results: impl Iterator<Item = Result<T, Errors>>) -> Result<Vec<T>, Errors> {
    let (mut values, mut errors) = (vec![], vec![]);
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(more) => errors.extend(more),
        }
    }
    if errors.is_empty() {
        Ok(values)
    } else {
        Err(errors)
    }
}

fn merge_record(
    Record(fields): &Record,
    defaults: Option<&Value>,
    written: &Map<String, Json>,
    path: &str,
) -> Result<Value, Errors> {
    let names: Vec<String> = fields
        .iter()
        .map(|(field, _)| manifest_name(field))
        .collect();
    let unknown = written
        .keys()
        .filter(|key| !names.contains(key))
        .map(|key| {
            let hint = suggestion(key, names.iter().map(String::as_str));
            DecodeError::new(
                path,
                format!(
                    "unknown key {key:?}{hint}; known keys: {}",
                    names.join(", ")
                ),
            )
        });
    let merged = fields.iter().zip(&names).map(|((field, ty), name)| {
        let value = merge_field(
            ty,
            default_of(defaults, field),
            written.get(name),
            &join(path, name),
        )?;
        Ok((field.clone(), value))
    });
    let mut errors: Errors = unknown.collect();
    match all(merged) {
        Ok(fields) if errors.is_empty() => return Ok(Value::Record(fields)),
        Ok(_) => {}
        Err(more) => errors.extend(more),
    }
    Err(errors)
}

fn default_of<'a>(defaults: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    match defaults {
        Some(Value::Record(fields)) => fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value),
        _ => None,
    }
}

fn merge_field(
    ty: &Type,
    default: Option<&Value>,
    written: Option<&Json>,
    path: &str,
) -> Result<Value, Errors> {
    match (written, default, ty) {
        (Some(Json::Object(written)), Some(default @ Value::Record(_)), Type::Record(record)) => {
            merge_record(record, Some(default), written, path)
        }
        (Some(written), _, ty) => read(ty, written, path),
        (None, Some(default), _) => Ok(default.clone()),
        (None, None, Type::Option(_)) => Ok(Value::Option(None)),
        (None, None, _) => Err(vec![DecodeError::new(path, "required, but missing")]),
    }
}

/// Reads a manifest's value as a value of a type.
fn read(ty: &Type, value: &Json, path: &str) -> Result<Value, Errors> {
    let wrong = |expected: &str| {
        Err(vec![DecodeError::new(
            path,
            format!("expected {expected}, found {}", describe(value)),
        )])
    };
    match (ty, value) {
        (Type::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
        (Type::Bool, _) => wrong("boolean"),
        (Type::String, Json::String(text)) => Ok(Value::String(text.clone())),
        (Type::String, _) => wrong("string (put it in quotes)"),
        (Type::Char, Json::String(text)) => match only_char(text) {
            Some(c) => Ok(Value::Char(c)),
            None => wrong("string of one character"),
        },
        (Type::Char, _) => wrong("string of one character"),
        (Type::Float32, Json::Number(number)) => Ok(Value::Float32(float32(number))),
        (Type::Float64, Json::Number(number)) => Ok(Value::Float64(float64(number))),
        (Type::Float32 | Type::Float64, _) => wrong("number"),
        (Type::Integer(ty), _) => Ok(integer(*ty, value, path)?),
        (Type::Option(_), Json::Null) => Ok(Value::Option(None)),
        (Type::Option(ty), _) => Ok(Value::Option(Some(Box::new(read(ty, value, path)?)))),
        (Type::Record(record), Json::Object(written)) => merge_record(record, None, written, path),
        (Type::Record(_), _) => wrong("an object"),
        (Type::List(item), _) => read_list(item, value, path),
        (Type::Tuple(types), Json::Array(items)) if items.len() == types.len() => {
            let items = types.iter().zip(items).enumerate();
            all(items.map(|(i, (ty, item))| read(ty, item, &format!("{path}[{i}]"))))
                .map(Value::Tuple)
        }
        (Type::Tuple(types), _) => wrong(&format!("a list of {} entries", types.len())),
        (Type::Enum(cases), _) => Ok(Value::Enum(read_case(cases, value, path)?)),
        (Type::Flags(names), Json::Array(items)) => {
            let items = items.iter().enumerate();
            let name =
                |(i, item)| read_case(names, item, &format!("{path}[{i}]")).map_err(Errors::from);
            all(items.map(name)).map(Value::Flags)
        }
        (Type::Flags(_), _) => wrong("a list"),
        (Type::Variant(cases), _) => read_variant(cases, value, path),
        (Type::Json, value) => Ok(Value::Json(value.clone())),
    }
}

fn only_char(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

fn read_list(item: &Type, value: &Json, path: &str) -> Result<Value, Errors> {
    let items = match (Type::mapped(item), value) {
        (Some(ty), Json::Object(entries)) => all(entries.iter().map(|(key, value)| {
            let value = read(ty, value, &format!("{path}[{key:?}]"))?;
            Ok(Value::Tuple(vec![Value::String(key.clone()), value]))
        }))?,
        (None, Json::Array(items)) => {
            let items = items.iter().enumerate();
            all(items.map(|(i, value)| read(item, value, &format!("{path}[{i}]"))))?
        }
        (mapped, _) => {
            let expected = if mapped.is_some() {
                "an object"
            } else {
                "a list"
            };
            return Err(vec![DecodeError::new(
                path,
                format!("expected {expected}, found {}", describe(value)),
            )]);
        }
    };
    Ok(Value::List(items))
}

/// Returns the case that a text names, in WIT's spelling.
fn read_case<'a>(
    cases: impl IntoIterator<Item = &'a String>,
    value: &Json,
    path: &str,
) -> Result<String, DecodeError> {
    let cases: Vec<(&str, String)> = cases
        .into_iter()
        .map(|case| (case.as_str(), case_name(case)))
        .collect();
    let found = value
        .as_str()
        .and_then(|text| cases.iter().find(|(_, name)| name == text));
    if let Some((case, _)) = found {
        return Ok((*case).to_owned());
    }
    let names: Vec<&str> = cases.iter().map(|(_, name)| name.as_str()).collect();
    let hint = value
        .as_str()
        .map_or_else(String::new, |text| suggestion(text, names.iter().copied()));
    Err(DecodeError::new(
        path,
        format!(
            "expected one of {}, found {}{hint}",
            names.join(", "),
            describe(value)
        ),
    ))
}

/// Reads a case without payload from its name, one with a payload from an object with one key.
fn read_variant(
    cases: &[(String, Option<Type>)],
    value: &Json,
    path: &str,
) -> Result<Value, Errors> {
    let single = value
        .as_object()
        .filter(|object| object.len() == 1)
        .and_then(|object| object.iter().next());
    let (name, payload) = match single {
        Some((name, payload)) => (Json::String(name.clone()), Some(payload)),
        None => (value.clone(), None),
    };
    let case = read_case(cases.iter().map(|(case, _)| case), &name, path)?;
    let ty = cases
        .iter()
        .find(|(candidate, _)| *candidate == case)
        .and_then(|(_, ty)| ty.as_ref());
    let payload = match (ty, payload) {
        (Some(ty), Some(payload)) => {
            let path = join(path, &case_name(&case));
            Some(Box::new(read(ty, payload, &path)?))
        }
        (None, None) => None,
        (Some(_), None) => {
            return Err(vec![DecodeError::new(
                path,
                format!("expected {{{}: …}}", case_name(&case)),
            )]);
        }
        (None, Some(_)) => {
            return Err(vec![DecodeError::new(
                path,
                format!("expected {:?} alone", case_name(&case)),
            )]);
        }
    };
    Ok(Value::Variant(case, payload))
}

fn float64(number: &Number) -> f64 {
    number.as_f64().unwrap_or_default()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the policy asked for 32 bits"
)]
fn float32(number: &Number) -> f32 {
    float64(number) as f32
}

fn integer(ty: Integer, value: &Json, path: &str) -> Result<Value, DecodeError> {
    let (min, max) = ty.bounds();
    let number = value
        .as_i64()
        .map(i128::from)
        .or_else(|| value.as_u64().map(i128::from));
    match number.filter(|number| (min..=max).contains(number)) {
        Some(number) => Ok(Value::Integer(ty, number)),
        None => Err(DecodeError::new(
            path,
            format!(
                "expected integer between {min} and {max}, found {}",
                describe(value)
            ),
        )),
    }
}
