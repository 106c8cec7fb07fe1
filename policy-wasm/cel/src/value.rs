//! The values of an evaluation.
//!
//! Strings, lists and maps borrow from the program and from the JSON that is judged wherever they
//! can, so that an evaluation copies only what it makes. Invariants: a map has no key twice, and
//! its keys are strings, bools, ints or uints.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::functions::format::NamedFormat;
use crate::functions::net::Cidr;
use crate::functions::quantity::Quantity;
use crate::functions::semver::Version;
use crate::functions::time::Timestamp;
use crate::functions::url::Url;
use crate::json::{Json, Node};
use crate::shared::Shared;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::IpAddr;
use core::ops::Deref;

/// A value. In a component it is copied bit by bit.
#[derive(Clone)]
#[cfg_attr(target_family = "wasm", derive(Copy))]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// A `bool`.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// A `uint`.
    Uint(u64),
    /// A `double`.
    Double(f64),
    /// A `string`.
    String(Str<'a>),
    /// `bytes`.
    Bytes(Shared<'a, [u8]>),
    /// A `list`.
    List(List<'a>),
    /// A `map`.
    Map(Map<'a>),
    /// A `google.protobuf.Timestamp`.
    Timestamp(Timestamp),
    /// A `google.protobuf.Duration`, in nanoseconds.
    Duration(i64),
    /// A type.
    Type(TypeName),
    /// An `optional_type`.
    Optional(Option<Shared<'a, Value<'a>>>),
    /// A `net.IP`.
    Ip(IpAddr),
    /// A `net.CIDR`.
    Cidr(Cidr),
    /// A `kubernetes.URL`.
    Url(Shared<'a, Url>),
    /// A `kubernetes.Quantity`.
    Quantity(Shared<'a, Quantity>),
    /// A `kubernetes.Semver`.
    Semver(Shared<'a, Version>),
    /// A `kubernetes.NamedFormat`.
    Format(NamedFormat),
    /// A `JSONPatch`: one operation.
    Patch(Shared<'a, Operation<'a>>),
    /// An `Object` that an expression makes.
    Object(Shared<'a, Object<'a>>),
}

/// A string that is borrowed or shared.
#[derive(Clone)]
#[cfg_attr(target_family = "wasm", derive(Copy))]
pub enum Str<'a> {
    /// Text of the program or of the input.
    Borrowed(&'a str),
    /// Text that an evaluation made.
    Shared(Shared<'a, str>),
}

impl Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<String> for Str<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

/// A list.
#[derive(Clone)]
#[cfg_attr(target_family = "wasm", derive(Copy))]
pub enum List<'a> {
    /// An array of a document.
    Json(Node<'a>),
    /// Elements that an evaluation made.
    Values(Shared<'a, Vec<Value<'a>>>),
    /// Elements of the program.
    Borrowed(&'a [Value<'a>]),
}

impl<'a> List<'a> {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(node) => node.len(),
            Self::Values(values) => values.len(),
            Self::Borrowed(values) => values.len(),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns an element.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(node) => node.element(index).map(Value::from),
            Self::Values(values) => values.get(index).cloned(),
            Self::Borrowed(values) => values.get(index).cloned(),
        }
    }

    /// Calls a function with each element, in order, until it returns an error.
    ///
    /// # Errors
    ///
    /// The error that the function returned.
    pub fn each(
        &self,
        call: &mut dyn FnMut(Value<'a>) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let values = match self {
            Self::Json(node) => return node.elements().map(Value::from).try_for_each(call),
            Self::Values(values) => values.as_slice(),
            Self::Borrowed(values) => values,
        };
        values.iter().cloned().try_for_each(call)
    }

    /// Returns the elements as a vector.
    pub fn to_vec(&self) -> Vec<Value<'a>> {
        match self {
            Self::Json(node) => node.elements().map(Value::from).collect(),
            Self::Values(values) => values.to_vec(),
            Self::Borrowed(values) => values.to_vec(),
        }
    }
}

/// A map.
#[derive(Clone)]
#[cfg_attr(target_family = "wasm", derive(Copy))]
pub enum Map<'a> {
    /// An object of a document.
    Json(Node<'a>),
    /// Entries that an evaluation made.
    Entries(Shared<'a, Vec<Entry<'a>>>),
}

/// A key and its value.
pub(crate) type Entry<'a> = (Value<'a>, Value<'a>);

impl<'a> Map<'a> {
    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(node) => node.len(),
            Self::Entries(entries) => entries.len(),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value of a key. Numbers find a key of another numeric type that equals them.
    pub fn find(&self, key: &Value<'_>) -> Option<Value<'a>> {
        match self {
            Self::Json(node) => match key {
                Value::String(key) => node.member(key).map(Value::from),
                _ => None,
            },
            Self::Entries(entries) => find_entry(entries, key).map(|(_, value)| value.clone()),
        }
    }

    /// Returns the value of a key that is a string.
    pub fn field(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(node) => node.member(key).map(Value::from),
            Self::Entries(entries) => entries
                .iter()
                .find(|(found, _)| matches!(found, Value::String(found) if &**found == key))
                .map(|(_, value)| value.clone()),
        }
    }

    /// Calls a function with each entry until it returns an error.
    ///
    /// # Errors
    ///
    /// The error that the function returned.
    pub fn each(
        &self,
        call: &mut dyn FnMut(Value<'a>, Value<'a>) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        match self {
            Self::Json(node) => node.members().try_for_each(|(key, value)| {
                call(Value::String(Str::Borrowed(key)), Value::from(value))
            }),
            Self::Entries(entries) => entries
                .iter()
                .try_for_each(|(key, value)| call(key.clone(), value.clone())),
        }
    }
}

/// Returns the steps of looking for a key among entries, each of which is compared with it as far
/// as both are alike.
pub(crate) fn lookup_steps(entries: usize, key: &str) -> u64 {
    entries as u64 * (1 + key.len() as u64 / 16) / 4
}

/// Returns the text of a key, which is empty for one of another type.
pub(crate) fn key_text<'k>(key: &'k Value<'_>) -> &'k str {
    match key {
        Value::String(text) => text,
        _ => "",
    }
}

/// Returns the entry of a key.
pub(crate) fn find_entry<'e, 'a>(
    entries: &'e [Entry<'a>],
    key: &Value<'_>,
) -> Option<&'e Entry<'a>> {
    entries.iter().find(|(found, _)| same_key(found, key))
}

fn same_key(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        _ => number_order(a, b) == Some(Ordering::Equal),
    }
}

/// An operation of a JSON patch, as an expression makes it.
pub struct Operation<'a> {
    /// `add`, `remove`, `replace`, `move`, `copy` or `test`.
    pub op: Str<'a>,
    /// A JSON Pointer.
    pub path: Str<'a>,
    /// A JSON Pointer, or empty.
    pub from: Str<'a>,
    /// The value, if there is one.
    pub value: Option<Value<'a>>,
}

/// An object with the name of its type: `Object.spec{…}`.
pub struct Object<'a> {
    /// `Object.spec`.
    pub name: Box<str>,
    /// The fields that are set.
    pub fields: Vec<(Box<str>, Value<'a>)>,
}

impl<'a> Object<'a> {
    /// Returns a field that is set.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        let field = self.fields.iter().find(|(found, _)| **found == *name);
        field.map(|(_, value)| value.clone())
    }
}

/// The name of a type, as `type(x)` returns it.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(target_family = "wasm", derive(Copy))]
pub struct TypeName(pub(crate) Str<'static>);

impl PartialEq for Str<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Str<'_> {}

impl TypeName {
    /// Returns the name: `google.protobuf.Duration`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> From<Node<'a>> for Value<'a> {
    fn from(node: Node<'a>) -> Self {
        match node.open() {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Int(value) => Self::Int(value),
            Json::Double(value) => Self::Double(value),
            Json::String(value) => Self::String(Str::Borrowed(value)),
            Json::Array(node) => Self::List(List::Json(node)),
            Json::Object(node) => Self::Map(Map::Json(node)),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Str::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl<'a> From<Vec<Value<'a>>> for Value<'a> {
    fn from(values: Vec<Value<'a>>) -> Self {
        Self::List(List::Values(Shared::new(values)))
    }
}

impl<'a> FromIterator<(&'a str, Value<'a>)> for Value<'a> {
    /// Makes a map. The keys must differ.
    fn from_iter<I: IntoIterator<Item = (&'a str, Value<'a>)>>(entries: I) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
        Self::Map(Map::Entries(Shared::new(entries.collect())))
    }
}

impl<'a> Value<'a> {
    /// Makes an optional value.
    pub fn some(value: Value<'a>) -> Self {
        Self::Optional(Some(Shared::new(value)))
    }

    /// Returns the name of the value's type.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Patch(_) => "JSONPatch",
            Self::Object(object) => &object.name,
        }
    }

    /// Returns the name that an API server's own code has for the value's type.
    pub(crate) fn go_type(&self) -> &str {
        match self {
            Self::Null => "types.Null",
            Self::Bool(_) => "types.Bool",
            Self::Int(_) => "types.Int",
            Self::Uint(_) => "types.Uint",
            Self::Double(_) => "types.Double",
            Self::String(_) => "types.String",
            Self::Bytes(_) => "types.Bytes",
            Self::Timestamp(_) => "types.Timestamp",
            Self::Duration(_) => "types.Duration",
            other => other.type_name(),
        }
    }

    /// Returns the value's type as a value.
    pub(crate) fn type_value(&self) -> TypeName {
        TypeName(match self {
            Self::Object(object) => Str::Shared((*object.name).into()),
            // The names of all other types are constants; this match can't say so.
            _ => Str::Shared(self.type_name().into()),
        })
    }

    /// Returns the text that stands for the value in JSON, where it is a time or bytes.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Timestamp(time) => Some(time.text()),
            Self::Duration(nanos) => Some(crate::functions::time::duration_text(*nanos)),
            Self::Bytes(bytes) => Some(crate::functions::text::base64(bytes)),
            _ => None,
        }
    }

    /// Returns whether the value is empty, zero, false or null, as `optional.ofNonZeroValue` asks.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(value) => value.is_empty(),
            Self::Bytes(value) => value.is_empty(),
            Self::List(value) => value.is_empty(),
            Self::Map(value) => value.is_empty(),
            Self::Timestamp(value) => value.is_zero(),
            Self::Object(value) => value.fields.is_empty(),
            _ => false,
        }
    }

    /// Returns whether two values are equal, as `==` says. Values of different types are not,
    /// except for numbers.
    ///
    /// # Errors
    ///
    /// The left one is of a type that compares with nothing else, such as an IP address, or the
    /// budget is used up.
    pub fn equals(&self, other: &Value<'_>, budget: &Budget) -> Result<bool, EvalError> {
        budget.spend(1)?;
        if matches!(self, Self::Null) || matches!(other, Value::Null) {
            return Ok(matches!(self, Self::Null) && matches!(other, Value::Null));
        }
        Ok(match (self, other) {
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::String(a), Value::String(b)) => {
                budget.spend_bytes(a.len().min(b.len()))?;
                **a == **b
            }
            (Self::Bytes(a), Value::Bytes(b)) => {
                budget.spend_bytes(a.len().min(b.len()))?;
                **a == **b
            }
            (Self::Int(_) | Self::Uint(_) | Self::Double(_), _) => {
                number_order(self, other) == Some(Ordering::Equal)
            }
            (Self::Timestamp(a), Value::Timestamp(b)) => a.order(b) == Ordering::Equal,
            (Self::Duration(a), Value::Duration(b)) => a == b,
            (Self::Type(a), Value::Type(b)) => a == b,
            (Self::List(a), Value::List(b)) => return lists_equal(a, b, budget),
            (Self::Map(a), Value::Map(b)) => return maps_equal(a, b, budget),
            (Self::Optional(a), Value::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => {
                    let _deeper = budget.enter()?;
                    return a.equals(b, budget);
                }
                (a, b) => a.is_none() && b.is_none(),
            },
            (Self::Ip(a), Value::Ip(b)) => a == b,
            (Self::Cidr(a), Value::Cidr(b)) => a == b,
            (Self::Url(a), Value::Url(b)) => **a == **b,
            (Self::Quantity(a), Value::Quantity(b)) => a.order(b) == Ordering::Equal,
            (Self::Semver(a), Value::Semver(b)) => a.order(b) == Ordering::Equal,
            (Self::Format(a), Value::Format(b)) => a == b,
            (Self::Patch(a), Value::Patch(b)) => return operations_equal(a, b, budget),
            (Self::Object(a), Value::Object(b)) => return objects_equal(a, b, budget),
            (
                Self::Ip(_)
                | Self::Cidr(_)
                | Self::Url(_)
                | Self::Quantity(_)
                | Self::Semver(_)
                | Self::Format(_),
                _,
            ) => return Err(EvalError::no_such_overload()),
            _ => false,
        })
    }

    /// Takes the steps for reading two values in [`Self::compare`].
    pub(crate) fn spend_order(&self, other: &Value<'_>, budget: &Budget) -> Result<(), EvalError> {
        let (a, b) = match (self, other) {
            (Self::String(a), Value::String(b)) => (a.len(), b.len()),
            (Self::Bytes(a), Value::Bytes(b)) => (a.len(), b.len()),
            _ => return Ok(()),
        };
        budget.spend_bytes(a.min(b))
    }

    /// Returns the order of two values, as `<` says.
    ///
    /// # Errors
    ///
    /// The types have no order, or one is NaN.
    pub(crate) fn compare(&self, other: &Value<'_>) -> Result<Ordering, EvalError> {
        Ok(match (self, other) {
            (Self::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Self::String(a), Value::String(b)) => (**a).cmp(&**b),
            (Self::Bytes(a), Value::Bytes(b)) => (**a).cmp(&**b),
            (Self::Timestamp(a), Value::Timestamp(b)) => a.order(b),
            (Self::Duration(a), Value::Duration(b)) => a.cmp(b),
            (Self::Double(a), _) if a.is_nan() && other.is_number() => {
                return Err(EvalError::of("NaN values cannot be ordered"));
            }
            (_, Value::Double(b)) if b.is_nan() && self.is_number() => {
                return Err(EvalError::of("NaN values cannot be ordered"));
            }
            _ => number_order(self, other).ok_or_else(EvalError::no_such_overload)?,
        })
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Uint(_) | Self::Double(_))
    }

    /// Returns whether `<` has a meaning for the value.
    pub(crate) fn is_comparable(&self) -> bool {
        self.is_number()
            || matches!(
                self,
                Self::Bool(_)
                    | Self::String(_)
                    | Self::Bytes(_)
                    | Self::Timestamp(_)
                    | Self::Duration(_)
            )
    }
}

/// Returns the order of two numbers; none if one is no number, or NaN.
fn number_order(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => {
            Some(u64::try_from(*a).map_or(Ordering::Less, |a| a.cmp(b)))
        }
        (Value::Uint(_), Value::Int(_)) => number_order(b, a).map(Ordering::reverse),
        (Value::Double(a), Value::Int(b)) => double_int_order(*a, *b),
        (Value::Int(_), Value::Double(_)) => number_order(b, a).map(Ordering::reverse),
        (Value::Double(a), Value::Uint(b)) => double_uint_order(*a, *b),
        (Value::Uint(_), Value::Double(_)) => number_order(b, a).map(Ordering::reverse),
        _ => None,
    }
}

/// Compares as cel-go does: the int becomes a double.
fn double_int_order(a: f64, b: i64) -> Option<Ordering> {
    if a < i64::MIN as f64 {
        return Some(Ordering::Less);
    }
    if a > i64::MAX as f64 {
        return Some(Ordering::Greater);
    }
    a.partial_cmp(&(b as f64))
}

fn double_uint_order(a: f64, b: u64) -> Option<Ordering> {
    if a < 0.0 {
        return Some(Ordering::Less);
    }
    if a > u64::MAX as f64 {
        return Some(Ordering::Greater);
    }
    a.partial_cmp(&(b as f64))
}

/// Compares elements with each other. As in cel-go, two that can't be compared count as equal.
fn elements_equal(a: &Value<'_>, b: &Value<'_>, budget: &Budget) -> Result<bool, EvalError> {
    match a.equals(b, budget) {
        Err(error) if !error.is_fatal() => Ok(true),
        equal => equal,
    }
}

fn lists_equal(a: &List<'_>, b: &List<'_>, budget: &Budget) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    let _deeper = budget.enter()?;
    // Walking both at once would need an iterator of each kind; `get` of a document is a walk from
    // the start.
    let b = b.to_vec();
    budget.spend_bytes(b.len() * size_of::<Value<'_>>())?;
    let mut index = 0;
    let mut equal = true;
    a.each(&mut |element| {
        if equal {
            equal = elements_equal(&element, &b[index], budget)?;
            index += 1;
        }
        Ok(())
    })?;
    Ok(equal)
}

fn maps_equal(a: &Map<'_>, b: &Map<'_>, budget: &Budget) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    let _deeper = budget.enter()?;
    let mut equal = true;
    a.each(&mut |key, value| {
        if equal {
            budget.spend(1 + lookup_steps(b.len(), key_text(&key)))?;
            equal = match b.find(&key) {
                Some(other) => elements_equal(&value, &other, budget)?,
                None => false,
            };
        }
        Ok(())
    })?;
    Ok(equal)
}

fn operations_equal(
    a: &Operation<'_>,
    b: &Operation<'_>,
    budget: &Budget,
) -> Result<bool, EvalError> {
    if *a.op != *b.op || *a.path != *b.path || *a.from != *b.from {
        return Ok(false);
    }
    match (&a.value, &b.value) {
        (Some(a), Some(b)) => {
            let _deeper = budget.enter()?;
            a.equals(b, budget)
        }
        (a, b) => Ok(a.is_none() && b.is_none()),
    }
}

fn objects_equal(a: &Object<'_>, b: &Object<'_>, budget: &Budget) -> Result<bool, EvalError> {
    if a.name != b.name || a.fields.len() != b.fields.len() {
        return Ok(false);
    }
    let _deeper = budget.enter()?;
    for (name, value) in &a.fields {
        budget.spend(1 + b.fields.len() as u64 / 4)?;
        let equal = match b.field(name) {
            Some(other) => elements_equal(value, &other, budget)?,
            None => false,
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}
