//! The settings of a policy: their type as the component declares it, and values of that type.
//!
//! Role: a component declares a record `settings`; [`crate::component`] reads its type, [`merge`]
//! merges a manifest's YAML over the policy's defaults, [`schema`] writes the JSON Schema. The
//! runtime of components converts [`Value`] to and from its own values. So no policy carries a
//! parser or a schema. Invariants: a type is finite and has at most [`MAX_PARTS`] parts; every kind
//! of type that can't be settings (resources, streams, results) was refused when the component was
//! read.
//!
//! One mapping of names, here and nowhere else: WIT's kebab-case is camelCase in manifests, the
//! four types of a Service are Kubernetes' own words, and a `list<tuple<string, T>>` is a mapping.

mod merge;
mod schema;

pub use merge::{Errors, merge};
pub(crate) use schema::parse as parse_wit;
pub use schema::schema;

use crate::decode::{DecodeError, join};
use serde::{Deserialize, Serialize};

/// Fields and types that one policy's settings may have, each counted wherever it is used: a few
/// bytes of a component can declare a million, by a type that uses another one twice, and so on.
pub const MAX_PARTS: usize = 10_000;

/// The type of a value, as the Component Model has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Type {
    /// `bool`.
    Bool,
    /// `u8` and its siblings.
    Integer(Integer),
    /// `f32`.
    Float32,
    /// `f64`.
    Float64,
    /// `char`.
    Char,
    /// `string`.
    String,
    /// `list<T>`.
    List(Box<Self>),
    /// `option<T>`.
    Option(Box<Self>),
    /// `tuple<…>`.
    Tuple(Vec<Self>),
    /// `record`.
    Record(Record),
    /// `variant`: names of cases, and what they carry.
    Variant(Vec<(String, Option<Self>)>),
    /// `enum`: names of cases.
    Enum(Vec<String>),
    /// `flags`: their names.
    Flags(Vec<String>),
    /// The contract's `json`: any value, which the policy gets as JSON text.
    Json,
}

/// The type of a record: names of fields in WIT's spelling, and their types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record(pub Vec<(String, Type)>);

/// The integer types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are named as in WIT")]
pub enum Integer {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
}

/// A value. Names of fields, cases and flags are in WIT's spelling.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A `bool`.
    Bool(bool),
    /// An integer within its type's bounds.
    Integer(Integer, i128),
    /// An `f32`.
    Float32(f32),
    /// An `f64`.
    Float64(f64),
    /// A `char`.
    Char(char),
    /// A `string`.
    String(String),
    /// A list.
    List(Vec<Self>),
    /// An option.
    Option(Option<Box<Self>>),
    /// A tuple.
    Tuple(Vec<Self>),
    /// A record: all its fields, in the order of its type.
    Record(Vec<(String, Self)>),
    /// A case of a variant, and what it carries.
    Variant(String, Option<Box<Self>>),
    /// A case of an enum.
    Enum(String),
    /// The flags that are set.
    Flags(Vec<String>),
    /// Any value of JSON.
    Json(serde_json::Value),
}

impl Integer {
    /// Returns the smallest and the largest value.
    pub fn bounds(self) -> (i128, i128) {
        match self {
            Self::S8 => (i8::MIN.into(), i8::MAX.into()),
            Self::U8 => (u8::MIN.into(), u8::MAX.into()),
            Self::S16 => (i16::MIN.into(), i16::MAX.into()),
            Self::U16 => (u16::MIN.into(), u16::MAX.into()),
            Self::S32 => (i32::MIN.into(), i32::MAX.into()),
            Self::U32 => (u32::MIN.into(), u32::MAX.into()),
            Self::S64 => (i64::MIN.into(), i64::MAX.into()),
            Self::U64 => (u64::MIN.into(), u64::MAX.into()),
        }
    }
}

impl Type {
    /// Returns the `T` of a `list<tuple<string, T>>`, which manifests write as a mapping, given the
    /// type of the list's items.
    fn mapped(item: &Self) -> Option<&Self> {
        match item {
            Self::Tuple(pair) => match pair.as_slice() {
                [Self::String, value] => Some(value),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Value {
    /// Parses the JSON texts in a value that a component returned, which knows only texts.
    ///
    /// # Errors
    ///
    /// Fails for a text that is no JSON, with its path.
    pub fn with_json(self, ty: &Type) -> Result<Self, DecodeError> {
        self.parsed(ty, "")
    }

    fn parsed(self, ty: &Type, path: &str) -> Result<Self, DecodeError> {
        let boxed = |value: Option<Box<Self>>, ty: &Type, path: &str| {
            let value = value.map(|value| value.parsed(ty, path)).transpose()?;
            Ok(value.map(Box::new))
        };
        Ok(match (self, ty) {
            (Self::String(text), Type::Json) => Self::Json(
                serde_json::from_str(&text)
                    .map_err(|error| DecodeError::new(path, format!("no JSON: {error}")))?,
            ),
            (Self::List(items), Type::List(ty)) => Self::List(
                (0..)
                    .zip(items)
                    .map(|(i, item): (usize, _)| item.parsed(ty, &format!("{path}[{i}]")))
                    .collect::<Result<_, _>>()?,
            ),
            (Self::Tuple(items), Type::Tuple(types)) => Self::Tuple(
                (0..)
                    .zip(items.into_iter().zip(types))
                    .map(|(i, (item, ty)): (usize, _)| item.parsed(ty, &format!("{path}[{i}]")))
                    .collect::<Result<_, _>>()?,
            ),
            (Self::Record(fields), Type::Record(Record(types))) => Self::Record(
                fields
                    .into_iter()
                    .zip(types)
                    .map(|((name, value), (_, ty))| {
                        let path = join(path, &manifest_name(&name));
                        Ok((name, value.parsed(ty, &path)?))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            (Self::Option(value), Type::Option(ty)) => Self::Option(boxed(value, ty, path)?),
            (Self::Variant(case, value), Type::Variant(cases)) => {
                let found = cases.iter().find(|(name, _)| *name == case);
                let value = match found.and_then(|(_, ty)| ty.as_ref()) {
                    Some(ty) => boxed(value, ty, &join(path, &case_name(&case)))?,
                    None => value,
                };
                Self::Variant(case, value)
            }
            (value, _) => value,
        })
    }

    /// Returns the value as a manifest would write it.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(value) => (*value).into(),
            Self::Integer(_, value) => json_integer(*value),
            Self::Float32(value) => f64::from(*value).into(),
            Self::Float64(value) => (*value).into(),
            Self::Char(value) => value.to_string().into(),
            Self::String(value) => value.as_str().into(),
            Self::List(items) => json_list(items),
            Self::Tuple(items) => items.iter().map(Self::to_json).collect(),
            Self::Record(fields) => fields
                .iter()
                .map(|(name, value)| (manifest_name(name), value.to_json()))
                .collect(),
            Self::Variant(case, None) | Self::Enum(case) => case_name(case).into(),
            Self::Variant(case, Some(payload)) => {
                [(case_name(case), payload.to_json())].into_iter().collect()
            }
            Self::Option(value) => value
                .as_deref()
                .map_or(serde_json::Value::Null, Self::to_json),
            Self::Flags(names) => names.iter().map(|name| case_name(name)).collect(),
            Self::Json(value) => value.clone(),
        }
    }
}

/// Writes a list of pairs whose first part is a text as a mapping. An empty list stays a list,
/// since its value does not show its type.
fn json_list(items: &[Value]) -> serde_json::Value {
    let pair = |item: &Value| match item {
        Value::Tuple(pair) => match pair.as_slice() {
            [Value::String(key), value] => Some((key.clone(), value.to_json())),
            _ => None,
        },
        _ => None,
    };
    match items
        .iter()
        .map(pair)
        .collect::<Option<serde_json::Map<_, _>>>()
    {
        Some(map) if !map.is_empty() => map.into(),
        _ => items.iter().map(Value::to_json).collect(),
    }
}

/// Returns an integer of any of the types, all of which fit into JSON's numbers.
fn json_integer(value: i128) -> serde_json::Value {
    i64::try_from(value).map_or_else(
        |_| u64::try_from(value).map_or(serde_json::Value::Null, Into::into),
        Into::into,
    )
}

/// Kubernetes' words for the cases of `service-type`.
const KUBERNETES_WORDS: [(&str, &str); 4] = [
    ("cluster-ip", "ClusterIP"),
    ("node-port", "NodePort"),
    ("load-balancer", "LoadBalancer"),
    ("external-name", "ExternalName"),
];

/// Spells a WIT name as manifests do: `per-namespace` is `perNamespace`, `allow-internal-LB` is
/// `allowInternalLB`.
pub fn manifest_name(wit: &str) -> String {
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

/// Spells a case of an enum or variant as manifests do.
fn case_name(wit: &str) -> String {
    let word = KUBERNETES_WORDS.iter().find(|(case, _)| *case == wit);
    word.map_or_else(|| manifest_name(wit), |(_, word)| (*word).to_owned())
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

    #[test]
    fn json_texts_of_a_component_become_values_wherever_they_stand() {
        let text = |text: &str| Value::String(text.to_owned());
        let json = |value| Value::Json(value);
        let list = || Type::List(Box::new(Type::Json));
        let record = |ty| Type::Record(Record(vec![("my-field".to_owned(), ty)]));
        let of = |value| Value::Record(vec![("my-field".to_owned(), value)]);
        let pair = Type::Tuple(vec![Type::String, Type::Json]);
        let case = Type::Variant(vec![("c".to_owned(), Some(Type::Json))]);
        for (value, ty, expected) in [
            (text("[1]"), Type::Json, json(serde_json::json!([1]))),
            (text("[1]"), Type::String, text("[1]")),
            (
                Value::List(vec![text("1")]),
                list(),
                Value::List(vec![json(1.into())]),
            ),
            (
                Value::Tuple(vec![text("1"), text("null")]),
                pair,
                Value::Tuple(vec![text("1"), json(serde_json::Value::Null)]),
            ),
            (
                Value::Option(Some(Box::new(text("{}")))),
                Type::Option(Box::new(Type::Json)),
                Value::Option(Some(Box::new(json(serde_json::json!({}))))),
            ),
            (
                Value::Variant("c".to_owned(), Some(Box::new(text("true")))),
                case,
                Value::Variant("c".to_owned(), Some(Box::new(json(true.into())))),
            ),
        ] {
            let read = of(value).with_json(&record(ty)).expect("JSON");
            assert_eq!(read, of(expected));
        }
        let error = of(Value::List(vec![text("1"), text("{")]))
            .with_json(&record(list()))
            .expect_err("no JSON");
        assert!(
            error.to_string().starts_with("myField[1]: no JSON: EOF"),
            "{error}"
        );
    }

    #[test]
    fn integers_of_any_type_are_json_numbers() {
        for integer in [Integer::S64, Integer::U64] {
            let (min, max) = integer.bounds();
            assert_eq!(json_integer(min).to_string(), min.to_string());
            assert_eq!(json_integer(max).to_string(), max.to_string());
        }
    }
}
