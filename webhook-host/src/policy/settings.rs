//! The settings of a policy: from the manifest's YAML to a value of the component's own type, by
//! reflection.
//!
//! The type is read from the component, so that no policy carries a parser or a schema. A
//! manifest's value is laid over what the policy's `defaults` returned: records merge, everything
//! else replaces. One mapping of names, here and nowhere else: WIT's kebab-case is camelCase in
//! manifests, the four types of a Service are Kubernetes' own words, and a `list<tuple<string, T>>`
//! is a mapping.

use crate::decode::{DecodeError, describe, join, suggestion};
use serde_json::{Map, Number, Value};
use wasmtime::component::types::{Field, List, Record};
use wasmtime::component::{Type, Val};

/// Kubernetes' words for the cases of `service-type`.
const KUBERNETES_WORDS: [(&str, &str); 4] = [
    ("cluster-ip", "ClusterIP"),
    ("node-port", "NodePort"),
    ("load-balancer", "LoadBalancer"),
    ("external-name", "ExternalName"),
];

/// A WIT name as manifests spell it: `per-namespace` is `perNamespace`, `allow-internal-LB` is
/// `allowInternalLB`.
pub(super) fn manifest_name(wit: &str) -> String {
    let mut name = String::with_capacity(wit.len());
    for word in wit.split('-') {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if !name.is_empty() => name.extend(first.to_uppercase().chain(letters)),
            _ => name.push_str(word),
        }
    }
    name
}

/// A case of an enum or variant as manifests spell it.
pub(super) fn case_name(wit: &str) -> String {
    let word = KUBERNETES_WORDS.iter().find(|(case, _)| *case == wit);
    word.map_or_else(|| manifest_name(wit), |(_, word)| (*word).to_owned())
}

/// What is written as a mapping: the `T` of a `list<tuple<string, T>>`.
pub(super) fn mapping(list: &List) -> Option<Type> {
    let Type::Tuple(tuple) = list.ty() else {
        return None;
    };
    let mut types = tuple.types();
    match (types.next(), types.next(), types.next()) {
        (Some(Type::String), Some(value), None) => Some(value),
        _ => None,
    }
}

/// All that is wrong with a value.
type Errors = Vec<DecodeError>;

/// Lays a manifest's settings over the policy's defaults.
///
/// # Errors
///
/// Every value that the type does not allow; paths begin at the settings.
pub(super) fn merge(
    settings: &Type,
    defaults: &Val,
    written: &Map<String, Value>,
) -> Result<Val, Errors> {
    let Type::Record(record) = settings else {
        return Err(vec![DecodeError::new(
            "",
            "the policy's settings are no record",
        )]);
    };
    merge_record(record, Some(defaults), written, "")
}

/// All values, or all errors.
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
    record: &Record,
    defaults: Option<&Val>,
    written: &Map<String, Value>,
    path: &str,
) -> Result<Val, Errors> {
    let names: Vec<String> = record
        .fields()
        .map(|field| manifest_name(field.name))
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
    let fields = record.fields().zip(&names).map(|(field, name)| {
        let value = merge_field(
            &field,
            default_of(defaults, field.name),
            written.get(name),
            &join(path, name),
        )?;
        Ok((field.name.to_owned(), value))
    });
    let mut errors: Errors = unknown.collect();
    match all(fields) {
        Ok(fields) if errors.is_empty() => return Ok(Val::Record(fields)),
        Ok(_) => {}
        Err(more) => errors.extend(more),
    }
    Err(errors)
}

fn default_of<'a>(defaults: Option<&'a Val>, name: &str) -> Option<&'a Val> {
    match defaults {
        Some(Val::Record(fields)) => fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value),
        _ => None,
    }
}

fn merge_field(
    field: &Field<'_>,
    default: Option<&Val>,
    written: Option<&Value>,
    path: &str,
) -> Result<Val, Errors> {
    match (written, default, &field.ty) {
        (Some(Value::Object(written)), Some(default @ Val::Record(_)), Type::Record(record)) => {
            merge_record(record, Some(default), written, path)
        }
        (Some(written), _, ty) => to_val(ty, written, path),
        (None, Some(default), _) => Ok(default.clone()),
        (None, None, Type::Option(_)) => Ok(Val::Option(None)),
        (None, None, _) => Err(vec![DecodeError::new(path, "required, but missing")]),
    }
}

/// A manifest's value as a value of a type.
fn to_val(ty: &Type, value: &Value, path: &str) -> Result<Val, Errors> {
    let wrong = |expected: &str| {
        Err(vec![DecodeError::new(
            path,
            format!("expected {expected}, found {}", describe(value)),
        )])
    };
    match (ty, value) {
        (Type::Bool, Value::Bool(value)) => Ok(Val::Bool(*value)),
        (Type::Bool, _) => wrong("boolean"),
        (Type::String, Value::String(text)) => Ok(Val::String(text.clone())),
        (Type::String, _) => wrong("string (put it in quotes)"),
        (Type::Char, Value::String(text)) if text.chars().count() == 1 => {
            Ok(Val::Char(text.chars().next().unwrap_or(' ')))
        }
        (Type::Char, _) => wrong("string of one character"),
        (Type::Float32 | Type::Float64, Value::Number(number)) => Ok(float(ty, number)),
        (Type::Float32 | Type::Float64, _) => wrong("number"),
        (Type::Option(_), Value::Null) => Ok(Val::Option(None)),
        (Type::Option(option), _) => Ok(Val::Option(Some(Box::new(to_val(
            &option.ty(),
            value,
            path,
        )?)))),
        (Type::Record(record), Value::Object(written)) => merge_record(record, None, written, path),
        (Type::Record(_), _) => wrong("an object"),
        (Type::List(list), _) => to_list(list, value, path),
        (Type::Tuple(tuple), Value::Array(items)) if items.len() == tuple.types().len() => {
            let items = tuple.types().zip(items).enumerate();
            all(items.map(|(i, (ty, item))| to_val(&ty, item, &format!("{path}[{i}]"))))
                .map(Val::Tuple)
        }
        (Type::Tuple(tuple), _) => wrong(&format!("a list of {} entries", tuple.types().len())),
        (Type::Enum(cases), _) => Ok(Val::Enum(to_case(cases.names(), value, path)?)),
        (Type::Flags(flags), Value::Array(items)) => {
            let items = items.iter().enumerate();
            let name = |(i, item)| {
                to_case(flags.names(), item, &format!("{path}[{i}]")).map_err(Errors::from)
            };
            all(items.map(name)).map(Val::Flags)
        }
        (Type::Flags(_), _) => wrong("a list"),
        (Type::Variant(variant), _) => to_variant(variant, value, path),
        _ => Ok(integer(ty, value, path)?),
    }
}

fn to_list(list: &List, value: &Value, path: &str) -> Result<Val, Errors> {
    let items = match (mapping(list), value) {
        (Some(ty), Value::Object(entries)) => all(entries.iter().map(|(key, value)| {
            let value = to_val(&ty, value, &format!("{path}[{key:?}]"))?;
            Ok(Val::Tuple(vec![Val::String(key.clone()), value]))
        }))?,
        (None, Value::Array(items)) => {
            let (ty, items) = (list.ty(), items.iter().enumerate());
            all(items.map(|(i, item)| to_val(&ty, item, &format!("{path}[{i}]"))))?
        }
        (mapping, _) => {
            let expected = if mapping.is_some() {
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
    Ok(Val::List(items))
}

fn to_case<'a>(
    cases: impl Iterator<Item = &'a str>,
    value: &Value,
    path: &str,
) -> Result<String, DecodeError> {
    let cases: Vec<(&str, String)> = cases.map(|case| (case, case_name(case))).collect();
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

/// A case without payload is its name, one with a payload an object with one key.
fn to_variant(
    variant: &wasmtime::component::types::Variant,
    value: &Value,
    path: &str,
) -> Result<Val, Errors> {
    let single = value
        .as_object()
        .filter(|object| object.len() == 1)
        .and_then(|object| object.iter().next());
    let (name, payload) = match single {
        Some((name, payload)) => (Value::String(name.clone()), Some(payload)),
        None => (value.clone(), None),
    };
    let case = to_case(variant.cases().map(|case| case.name), &name, path)?;
    let ty = variant
        .cases()
        .find(|candidate| candidate.name == case)
        .and_then(|case| case.ty);
    let payload = match (ty, payload) {
        (Some(ty), Some(payload)) => Some(Box::new(to_val(
            &ty,
            payload,
            &join(path, &case_name(&case)),
        )?)),
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
    Ok(Val::Variant(case, payload))
}

fn float(ty: &Type, number: &Number) -> Val {
    let value = number.as_f64().unwrap_or_default();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the policy asked for 32 bits"
    )]
    if *ty == Type::Float32 {
        Val::Float32(value as f32)
    } else {
        Val::Float64(value)
    }
}

/// The integer types and their bounds.
pub(super) fn integer_bounds(ty: &Type) -> Option<(i128, i128)> {
    Some(match ty {
        Type::S8 => (i8::MIN.into(), i8::MAX.into()),
        Type::U8 => (u8::MIN.into(), u8::MAX.into()),
        Type::S16 => (i16::MIN.into(), i16::MAX.into()),
        Type::U16 => (u16::MIN.into(), u16::MAX.into()),
        Type::S32 => (i32::MIN.into(), i32::MAX.into()),
        Type::U32 => (u32::MIN.into(), u32::MAX.into()),
        Type::S64 => (i64::MIN.into(), i64::MAX.into()),
        Type::U64 => (u64::MIN.into(), u64::MAX.into()),
        _ => return None,
    })
}

fn integer(ty: &Type, value: &Value, path: &str) -> Result<Val, DecodeError> {
    let Some((min, max)) = integer_bounds(ty) else {
        return Err(DecodeError::new(
            path,
            "settings can't hold resources, futures or streams; change the policy's world",
        ));
    };
    let number = value
        .as_i64()
        .map(i128::from)
        .or_else(|| value.as_u64().map(i128::from));
    let fits = number
        .filter(|number| (min..=max).contains(number))
        .and_then(|number| integer_val(ty, number));
    fits.ok_or_else(|| {
        DecodeError::new(
            path,
            format!(
                "expected integer between {min} and {max}, found {}",
                describe(value)
            ),
        )
    })
}

fn integer_val(ty: &Type, number: i128) -> Option<Val> {
    Some(match ty {
        Type::S8 => Val::S8(number.try_into().ok()?),
        Type::U8 => Val::U8(number.try_into().ok()?),
        Type::S16 => Val::S16(number.try_into().ok()?),
        Type::U16 => Val::U16(number.try_into().ok()?),
        Type::S32 => Val::S32(number.try_into().ok()?),
        Type::U32 => Val::U32(number.try_into().ok()?),
        Type::S64 => Val::S64(number.try_into().ok()?),
        Type::U64 => Val::U64(number.try_into().ok()?),
        _ => return None,
    })
}

/// A value of a type as a manifest would write it: the defaults in a schema.
pub(super) fn to_value(val: &Val) -> Value {
    match val {
        Val::Bool(value) => (*value).into(),
        Val::S8(value) => (*value).into(),
        Val::U8(value) => (*value).into(),
        Val::S16(value) => (*value).into(),
        Val::U16(value) => (*value).into(),
        Val::S32(value) => (*value).into(),
        Val::U32(value) => (*value).into(),
        Val::S64(value) => (*value).into(),
        Val::U64(value) => (*value).into(),
        Val::Float32(value) => f64::from(*value).into(),
        Val::Float64(value) => (*value).into(),
        Val::Char(value) => value.to_string().into(),
        Val::String(value) => value.as_str().into(),
        Val::List(items) | Val::FixedLengthList(items) => list_value(items),
        Val::Tuple(items) => items.iter().map(to_value).collect(),
        Val::Record(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (manifest_name(name), to_value(value)))
                .collect(),
        ),
        Val::Variant(case, None) | Val::Enum(case) => case_name(case).into(),
        Val::Variant(case, Some(payload)) => {
            Value::Object(Map::from_iter([(case_name(case), to_value(payload))]))
        }
        Val::Option(value) => value.as_deref().map_or(Value::Null, to_value),
        Val::Flags(names) => names.iter().map(|name| case_name(name)).collect(),
        _ => Value::Null,
    }
}

/// A list of pairs whose first is a text is a mapping. (An empty one is told by its type, not by
/// its value.)
fn list_value(items: &[Val]) -> Value {
    let pair = |item: &Val| match item {
        Val::Tuple(pair) => match pair.as_slice() {
            [Val::String(key), value] => Some((key.clone(), to_value(value))),
            _ => None,
        },
        _ => None,
    };
    match items.iter().map(pair).collect::<Option<Map<_, _>>>() {
        Some(map) if !map.is_empty() => Value::Object(map),
        _ => items.iter().map(to_value).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_one_mapping() {
        for (wit, manifest) in [
            ("ranges", "ranges"),
            ("per-namespace", "perNamespace"),
            ("allow-internal-LB", "allowInternalLB"),
        ] {
            assert_eq!(manifest_name(wit), manifest);
        }
        assert_eq!(case_name("cluster-ip"), "ClusterIP");
        assert_eq!(case_name("on-prem"), "onPrem");
    }
}
