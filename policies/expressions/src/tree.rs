//! JSON that can be changed: what a patch is applied to.

use sallyport_cel::json::{Json, Node, write_string};
use sallyport_cel::{EvalError, List, Map, Value};

/// The largest number that JSON's readers keep exactly. Larger ones become texts, as in protobuf.
const MAX_SAFE: u64 = (1 << 53) - 1;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    /// A number as it is written.
    Number(String),
    String(String),
    Array(Vec<Tree>),
    /// Members in the order of the text.
    Object(Vec<(String, Tree)>),
}

impl Tree {
    pub(crate) fn of(node: Node<'_>) -> Self {
        match node.open() {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Int(value) => Self::Number(value.to_string()),
            Json::Double(value) => Self::Number(number(value)),
            Json::String(text) => Self::String(text.to_owned()),
            Json::Array(array) => Self::Array(array.elements().map(Self::of).collect()),
            Json::Object(object) => {
                let members = object.members();
                Self::Object(
                    members
                        .map(|(key, value)| (key.to_owned(), Self::of(value)))
                        .collect(),
                )
            }
        }
    }

    /// Converts the value of an expression, as CEL converts it to JSON.
    pub(crate) fn of_value(value: &Value<'_>) -> Result<Self, EvalError> {
        let refuse = || {
            EvalError::of(format!(
                "a value of type {} can't be written as JSON",
                value.type_name()
            ))
        };
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) if value.unsigned_abs() <= MAX_SAFE => {
                Self::Number(value.to_string())
            }
            Value::Int(value) => Self::String(value.to_string()),
            Value::Uint(value) if *value <= MAX_SAFE => Self::Number(value.to_string()),
            Value::Uint(value) => Self::String(value.to_string()),
            Value::Double(value) if value.is_finite() => Self::Number(number(*value)),
            Value::String(text) => Self::String((**text).to_owned()),
            Value::List(list) => Self::of_list(list)?,
            Value::Map(map) => Self::of_map(map)?,
            Value::Object(object) => {
                let fields = object.fields.iter();
                let fields =
                    fields.map(|(name, value)| Ok((name.to_string(), Self::of_value(value)?)));
                Self::Object(fields.collect::<Result<_, EvalError>>()?)
            }
            Value::Optional(Some(value)) => Self::of_value(value)?,
            other => match other.text() {
                Some(text) => Self::String(text),
                None => return Err(refuse()),
            },
        })
    }

    fn of_list(list: &List<'_>) -> Result<Self, EvalError> {
        let mut elements = Vec::with_capacity(list.len());
        list.each(&mut |element| {
            elements.push(Self::of_value(&element)?);
            Ok(())
        })?;
        Ok(Self::Array(elements))
    }

    fn of_map(map: &Map<'_>) -> Result<Self, EvalError> {
        let mut members = Vec::with_capacity(map.len());
        map.each(&mut |key, value| {
            let Value::String(key) = &key else {
                return Err(EvalError::of(format!(
                    "a key of type {} can't be written as JSON",
                    key.type_name()
                )));
            };
            members.push(((**key).to_owned(), Self::of_value(&value)?));
            Ok(())
        })?;
        Ok(Self::Object(members))
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(number) => out.push_str(number),
            Self::String(text) => write_string(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Returns whether two values are the same, whatever the order of members.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Array(a), Self::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b))
            }
            (Self::Object(a), Self::Object(b)) => {
                let finds = |(key, value): &(String, Self)| {
                    b.iter()
                        .any(|(other, found)| other == key && found.is_same(value))
                };
                a.len() == b.len() && a.iter().all(finds)
            }
            (a, b) => a == b,
        }
    }

    /// Returns the value at a JSON Pointer.
    pub(crate) fn get(&self, pointer: &str) -> Option<&Self> {
        let mut found = self;
        for step in steps(pointer)? {
            found = match found {
                Self::Object(members) => &members.iter().find(|(key, _)| *key == step)?.1,
                Self::Array(elements) => elements.get(index(&step)?)?,
                _ => return None,
            };
        }
        Some(found)
    }

    fn parent(&mut self, pointer: &str) -> Option<(&mut Self, String)> {
        let mut steps = steps(pointer)?;
        let last = steps.pop()?;
        let mut found = self;
        for step in steps {
            found = match found {
                Self::Object(members) => &mut members.iter_mut().find(|(key, _)| *key == step)?.1,
                Self::Array(elements) => elements.get_mut(index(&step)?)?,
                _ => return None,
            };
        }
        Some((found, last))
    }

    /// Adds a value, or replaces the member of an object. None: there is no place for it.
    pub(crate) fn add(&mut self, pointer: &str, value: Self) -> Option<()> {
        let (parent, last) = self.parent(pointer)?;
        match parent {
            Self::Object(members) => match members.iter_mut().find(|(key, _)| *key == last) {
                Some((_, found)) => *found = value,
                None => members.push((last, value)),
            },
            Self::Array(elements) if last == "-" => elements.push(value),
            Self::Array(elements) => {
                let index = index(&last).filter(|index| *index <= elements.len())?;
                elements.insert(index, value);
            }
            _ => return None,
        }
        Some(())
    }

    /// Replaces a value that is there.
    pub(crate) fn replace(&mut self, pointer: &str, value: Self) -> Option<()> {
        let (parent, last) = self.parent(pointer)?;
        let found = match parent {
            Self::Object(members) => &mut members.iter_mut().find(|(key, _)| *key == last)?.1,
            Self::Array(elements) => elements.get_mut(index(&last)?)?,
            _ => return None,
        };
        *found = value;
        Some(())
    }

    /// Removes a value that is there, and returns it.
    pub(crate) fn remove(&mut self, pointer: &str) -> Option<Self> {
        let (parent, last) = self.parent(pointer)?;
        match parent {
            Self::Object(members) => {
                let index = members.iter().position(|(key, _)| *key == last)?;
                Some(members.remove(index).1)
            }
            Self::Array(elements) => {
                let index = index(&last).filter(|index| *index < elements.len())?;
                Some(elements.remove(index))
            }
            _ => None,
        }
    }
}

/// Writes a double without a fraction if it has none.
fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() <= MAX_SAFE as f64 {
        return format!("{}", value as i64);
    }
    format!("{value:?}")
}

/// Splits a JSON Pointer. None: it is none.
fn steps(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(vec![]);
    }
    let steps = pointer.strip_prefix('/')?.split('/');
    Some(
        steps
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect(),
    )
}

fn index(step: &str) -> Option<usize> {
    let is_index = step == "0" || !step.starts_with('0');
    let is_number = step.bytes().all(|byte| byte.is_ascii_digit());
    step.parse().ok().filter(|_| is_index && is_number)
}
