//! JSON values into our types, with errors for people: path, what was found, what is allowed, the
//! nearest known name.
//!
//! Role: every file that users write (manifests, host configuration, suites) and every Service that
//! does not decode goes through here. The hot path does not: it lets serde_json decode, and comes
//! here only to explain a failure. Callers are `manifest`, `suite` and `service`. Types that users
//! write carry `deny_unknown_fields`.

use crate::excerpt::{MAX_MESSAGE, cut, excerpt};
use serde::Deserialize;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor,
};
use serde_json::Value;
use std::fmt::{self, Display, Write as _};

/// The reason why a value does not decode. Displays as `spec.ports[0].nodePort: expected integer,
/// found string "30080"`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    /// JSON path from the root, such as `spec.ports[0].nodePort`; empty for the root itself.
    pub path: String,
    /// The value found there, and the values allowed.
    pub problem: String,
    /// The key that no such object has, where that is the problem.
    pub unknown_key: Option<String>,
    placed: bool,
}

/// One problem is all problems.
impl From<DecodeError> for Vec<DecodeError> {
    fn from(error: DecodeError) -> Self {
        vec![error]
    }
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.path, self.problem)
        }
    }
}

impl DecodeError {
    /// Makes an error at a path that the caller knows.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
            unknown_key: None,
            placed: true,
        }
    }

    fn unplaced(problem: String) -> Self {
        Self {
            path: String::new(),
            problem,
            unknown_key: None,
            placed: false,
        }
    }

    fn at(mut self, path: &Path<'_>) -> Self {
        if !self.placed {
            // A path that the error already has lies below this one: a missing field.
            self.path = join(&path.to_string(), &self.path);
            self.placed = true;
        }
        self
    }
}

/// Decodes a value.
///
/// # Errors
///
/// The first thing in the value that the type does not allow.
pub fn from_value<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, DecodeError> {
    T::deserialize(Node {
        value,
        path: &Path::Root,
    })
}

/// Returns ` (did you mean "x"?)` if a known name is near, else an empty text.
pub fn suggestion<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // Two edits or a third of the word: enough for a typo, too little for another word.
    let reach = (found.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&found.to_lowercase(), &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, _)| *distance <= reach)
        .min()
        .map_or_else(String::new, |(_, name)| {
            format!(" (did you mean {name:?}?)")
        })
}

/// Joins two paths: `spec` and `ports[0]` make `spec.ports[0]`.
pub fn join(parent: &str, child: &str) -> String {
    match (parent.is_empty(), child.is_empty()) {
        (true, _) => child.to_owned(),
        (_, true) => parent.to_owned(),
        _ if child.starts_with('[') => format!("{parent}{child}"),
        _ => format!("{parent}.{child}"),
    }
}

/// Describes a value in Kubernetes' words, cut to fit a message: `string "30080"`.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("boolean {value}"),
        Value::Number(value) if value.is_f64() => format!("number {value}"),
        Value::Number(value) => format!("integer {value}"),
        Value::String(value) => format!("string {}", quoted(value)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Quotes and escapes a text, at most 64 characters of it.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

impl de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::unplaced(cut(&message.to_string(), MAX_MESSAGE).into_owned())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unplaced(format!(
            "expected {}, found {}",
            word(expected),
            found_word(found)
        ))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unplaced(format!(
            "expected {}, found {}",
            bounds(expected),
            found_word(found)
        ))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::unplaced(format!(
            "expected {}, found {length} entries",
            word(expected)
        ))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggestion(variant, expected.iter().copied());
        Self::unplaced(format!(
            "{} is not allowed here{hint}; use one of {}",
            quoted(variant),
            expected.join(", ")
        ))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggestion(field, expected.iter().copied());
        let problem = format!(
            "unknown key {}{hint}; known keys: {}",
            quoted(field),
            expected.join(", ")
        );
        Self {
            unknown_key: Some(field.to_owned()),
            ..Self::unplaced(problem)
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            path: field.to_owned(),
            ..Self::unplaced("required, but missing".to_owned())
        }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::unplaced(format!("the key {field:?} stands twice; keep one"))
    }
}

/// Describes in Kubernetes' words the type that serde expects.
fn word(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => {
            "integer".to_owned()
        }
        "a string" | "str" | "string" => "string".to_owned(),
        "a boolean" => "boolean".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        _ if is_type_name(&text) => "an object".to_owned(),
        _ => text,
    }
}

/// serde's derive says `struct Name`, k8s-openapi says `Name`.
fn is_type_name(text: &str) -> bool {
    let name = text.strip_prefix("struct ").unwrap_or(text);
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Names the expected type; adds the range where the type itself is the bound.
fn bounds(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "i32" => format!("integer between {} and {}", i32::MIN, i32::MAX),
        "u16" => format!("integer between 0 and {}", u16::MAX),
        "u32" => format!("integer between 0 and {}", u32::MAX),
        _ => word(expected),
    }
}

fn found_word(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("boolean {value}"),
        Unexpected::Unsigned(value) => format!("integer {value}"),
        Unexpected::Signed(value) => format!("integer {value}"),
        Unexpected::Float(value) => format!("number {value:?}"),
        Unexpected::Str(value) => format!("string {}", quoted(value)),
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

/// The path of a node, built on the stack while decoding descends.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(&step(key)),
            Path::Key(parent, key) => {
                let step = step(key);
                write!(
                    f,
                    "{parent}{}{step}",
                    if step.starts_with('[') { "" } else { "." }
                )
            }
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Writes a key as in a path: bare if it is a plain word, else `["app.kubernetes.io/name"]`.
fn step(key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let mut text = String::new();
    if plain {
        text.push_str(&excerpt(key));
    } else {
        let _ = write!(text, "[{:?}]", excerpt(key));
    }
    text
}

/// A value and its path, as a serde deserializer.
struct Node<'de, 'p> {
    value: &'de Value,
    path: &'p Path<'p>,
}

impl<'de> Node<'de, '_> {
    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
                path: self.path,
            }),
            Value::Object(map) => visitor.visit_map(Entries {
                entries: map.iter(),
                next: None,
                path: self.path,
            }),
            scalar => visit_scalar(scalar, visitor),
        }
    }
}

fn visit_scalar<'de, V: Visitor<'de>>(
    value: &'de Value,
    visitor: V,
) -> Result<V::Value, DecodeError> {
    match value {
        Value::Null => visitor.visit_unit(),
        Value::Bool(value) => visitor.visit_bool(*value),
        Value::String(value) => visitor.visit_borrowed_str(value),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(value), ..) => visitor.visit_u64(value),
            (_, Some(value), _) => visitor.visit_i64(value),
            (.., Some(value)) => visitor.visit_f64(value),
            _ => Err(DecodeError::unplaced(format!(
                "{number} is no number that fits 64 bits"
            ))),
        },
        Value::Array(_) | Value::Object(_) => {
            Err(DecodeError::unplaced("expected a scalar".to_owned()))
        }
    }
}

impl<'de> Deserializer<'de> for Node<'de, '_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let path = self.path;
        self.visit(visitor).map_err(|error| error.at(path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let path = self.path;
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
        .map_err(|error| error.at(path))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let path = self.path;
        visitor
            .visit_newtype_struct(self)
            .map_err(|error| error.at(path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let found = self.value;
        // serde_json's own view knows how enums are written; only unit variants occur in our files.
        let result = match found {
            Value::String(variant) => visitor.visit_enum(
                IntoDeserializer::<DecodeError>::into_deserializer(variant.as_str()),
            ),
            _ => Err(DecodeError::unplaced(format!(
                "expected one of {}, found {} ({name})",
                variants.join(", "),
                describe(found)
            ))),
        };
        result.map_err(|error| error.at(self.path))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes
        byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'de, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    path: &'p Path<'p>,
}

impl<'de> de::SeqAccess<'de> for Items<'de, '_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((index, value)) = self.items.next() else {
            return Ok(None);
        };
        let path = Path::Index(self.path, index);
        seed.deserialize(Node { value, path: &path })
            .map(Some)
            .map_err(|error| error.at(&path))
    }
}

struct Entries<'de, 'p> {
    entries: serde_json::map::Iter<'de>,
    next: Option<(&'de str, &'de Value)>,
    path: &'p Path<'p>,
}

impl<'de> de::MapAccess<'de> for Entries<'de, '_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.next = Some((key, value));
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key))
            .map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        let (key, value) = self
            .next
            .take()
            .expect("serde asks for a value after its key");
        let path = Path::Key(self.path, key);
        seed.deserialize(Node { value, path: &path })
            .map_err(|error| error.at(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    fn service_error(value: &Value) -> String {
        from_value::<Service>(value)
            .expect_err("must not decode")
            .to_string()
    }

    #[test]
    fn a_string_where_an_integer_belongs_is_named_with_its_path() {
        let value = json!({"spec": {"ports": [{"port": 80, "nodePort": "30080"}]}});
        assert_eq!(
            service_error(&value),
            r#"spec.ports[0].nodePort: expected integer, found string "30080""#
        );
    }

    #[test]
    fn an_integer_beyond_32_bits_names_the_range() {
        let value = json!({"spec": {"ports": [{"port": 80, "nodePort": 4_294_997_376_u64}]}});
        assert_eq!(
            service_error(&value),
            "spec.ports[0].nodePort: expected integer between -2147483648 and 2147483647, found \
             integer 4294997376"
        );
    }

    #[test]
    fn fractions_lists_and_objects_are_no_integers() {
        for (found, word) in [
            (json!(30080.0), "number 30080.0"),
            (json!(true), "boolean true"),
            (json!([]), "a list"),
        ] {
            let value = json!({"spec": {"ports": [{"port": 80, "nodePort": found}]}});
            assert_eq!(
                service_error(&value),
                format!("spec.ports[0].nodePort: expected integer, found {word}")
            );
        }
    }

    #[test]
    fn a_scalar_where_an_object_belongs_says_so() {
        assert_eq!(
            service_error(&json!({"spec": []})),
            "spec: expected an object, found a list"
        );
        assert_eq!(
            service_error(&json!({"spec": {"ports": [null]}})),
            "spec.ports[0]: expected an object, found null"
        );
        assert_eq!(
            service_error(&json!({"metadata": {"labels": {"a.b/c": 1}}})),
            r#"metadata.labels["a.b/c"]: expected string, found integer 1"#
        );
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[expect(dead_code, reason = "decoded for its errors")]
    struct Written {
        mode: Mode,
        failure_policy: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    enum Mode {
        Enforce,
        Warn,
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let value = json!({"mode": "Enforce", "failurepolicy": "x"});
        let error = from_value::<Written>(&value)
            .expect_err("unknown key")
            .to_string();
        assert_eq!(
            error,
            "unknown key \"failurepolicy\" (did you mean \"failurePolicy\"?); known keys: mode, \
             failurePolicy"
        );
    }

    #[test]
    fn a_missing_key_and_an_unknown_case_are_placed() {
        assert_eq!(
            from_value::<Written>(&json!({}))
                .expect_err("mode")
                .to_string(),
            "mode: required, but missing"
        );
        assert_eq!(
            from_value::<Written>(&json!({"mode": "enforce"}))
                .expect_err("case")
                .to_string(),
            "mode: \"enforce\" is not allowed here (did you mean \"Enforce\"?); use one of \
             Enforce, Warn"
        );
        let _ = (Mode::Enforce, Mode::Warn);
    }
}
