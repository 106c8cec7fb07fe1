//! Types of expressions, and which type can stand for which.
//!
//! The rules are those of cel-go's checker, because the API server refuses what that refuses. One
//! type is ours: [`Type::Hint`] is dynamic to the rules, as `object` is in an admission policy, but
//! knows the schema of what it stands for.

use crate::schema::{Object, Schema};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A type.
#[derive(Clone, PartialEq, Debug)]
pub enum Type {
    /// Any value, checked when it is used.
    Dyn,
    /// The type of an expression with an error that has been reported.
    Error,
    /// `null`.
    Null,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `uint`.
    Uint,
    /// `double`.
    Double,
    /// `string`.
    String,
    /// `bytes`.
    Bytes,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.protobuf.Duration`.
    Duration,
    /// A type without parameters that only functions know.
    Opaque(Opaque),
    /// A list.
    List(Box<Type>),
    /// A map of keys to values.
    Map(Box<(Type, Type)>),
    /// The type of a type.
    Type(Box<Type>),
    /// An optional value.
    Optional(Box<Type>),
    /// An object with declared fields.
    Object(&'static Object),
    /// The object that holds the variables of a policy.
    Variables,
    /// An `Object` of a mutation, by name: `Object.spec`.
    Mutation(Box<str>),
    /// Dynamic, with a known schema.
    Hint(&'static Schema),
    /// A parameter of a signature, or a free variable of the checker.
    Var(u32),
}

/// A type of a library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opaque {
    /// `net.IP`.
    Ip,
    /// `net.CIDR`.
    Cidr,
    /// `kubernetes.URL`.
    Url,
    /// `kubernetes.Quantity`.
    Quantity,
    /// `kubernetes.Semver`.
    Semver,
    /// `kubernetes.NamedFormat`.
    Format,
    /// `JSONPatch`.
    JsonPatch,
}

impl Opaque {
    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "net.IP",
            Self::Cidr => "net.CIDR",
            Self::Url => "kubernetes.URL",
            Self::Quantity => "kubernetes.Quantity",
            Self::Semver => "kubernetes.Semver",
            Self::Format => "kubernetes.NamedFormat",
            Self::JsonPatch => "JSONPatch",
        }
    }
}

/// The names of types in expressions. What stands here can be compared with `type(x)`.
pub(crate) const NAMES: [(&str, Type); 19] = [
    ("bool", Type::Bool),
    ("int", Type::Int),
    ("uint", Type::Uint),
    ("double", Type::Double),
    ("string", Type::String),
    ("bytes", Type::Bytes),
    ("null_type", Type::Null),
    ("google.protobuf.Timestamp", Type::Timestamp),
    ("google.protobuf.Duration", Type::Duration),
    ("net.IP", Type::Opaque(Opaque::Ip)),
    ("net.CIDR", Type::Opaque(Opaque::Cidr)),
    ("kubernetes.URL", Type::Opaque(Opaque::Url)),
    ("kubernetes.Quantity", Type::Opaque(Opaque::Quantity)),
    ("kubernetes.Semver", Type::Opaque(Opaque::Semver)),
    ("kubernetes.NamedFormat", Type::Opaque(Opaque::Format)),
    // These have parameters; see `Type::named`.
    ("list", Type::Dyn),
    ("map", Type::Dyn),
    ("type", Type::Dyn),
    ("optional_type", Type::Dyn),
];

impl Type {
    /// Makes the type of a list.
    pub fn list(element: Type) -> Self {
        Self::List(Box::new(element))
    }

    /// Makes the type of a map.
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Box::new((key, value)))
    }

    /// Makes the type of an optional value.
    pub fn optional(of: Type) -> Self {
        Self::Optional(Box::new(of))
    }

    /// Returns the type of a name, and the name that lives as long as the program.
    pub(crate) fn named(name: &str) -> Option<(&'static str, Type)> {
        let (name, found) = NAMES.iter().find(|(found, _)| *found == name)?;
        let found = match *name {
            "list" => Self::list(Self::Dyn),
            "map" => Self::map(Self::Dyn, Self::Dyn),
            "type" => Self::Type(Box::new(Self::Dyn)),
            "optional_type" => Self::optional(Self::Dyn),
            _ => found.clone(),
        };
        Some((name, found))
    }

    /// Returns whether anything may stand for the type.
    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Hint(_))
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        self.is_dyn() || matches!(self, Self::Error)
    }

    /// Returns the name in messages, as cel-go writes it.
    pub fn name(&self) -> String {
        match self {
            Self::Dyn | Self::Hint(_) => "dyn".to_owned(),
            Self::Error => "!error!".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Uint => "uint".to_owned(),
            Self::Double => "double".to_owned(),
            Self::String => "string".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Timestamp => "timestamp".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Opaque(opaque) => opaque.as_str().to_owned(),
            Self::List(element) => format!("list({})", element.name()),
            Self::Map(entry) => format!("map({}, {})", entry.0.name(), entry.1.name()),
            Self::Type(of) => format!("type({})", of.name()),
            Self::Optional(of) => format!("optional_type({})", of.name()),
            Self::Object(object) => object.name.to_owned(),
            Self::Variables => "kubernetes.variables".to_owned(),
            Self::Mutation(name) => name.as_ref().to_owned(),
            Self::Var(index) => format!("_var{index}"),
        }
    }

    /// Returns the types within this one.
    fn parameters(&self) -> [Option<&Type>; 2] {
        match self {
            Self::List(of) | Self::Type(of) | Self::Optional(of) => [Some(of), None],
            Self::Map(entry) => [Some(&entry.0), Some(&entry.1)],
            _ => [None, None],
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::List(_) => 1,
            Self::Map(_) => 2,
            Self::Type(_) => 3,
            Self::Optional(_) => 4,
            _ => 0,
        }
    }

    /// Returns whether `null` may stand for the type.
    fn is_nullable(&self) -> bool {
        matches!(
            self,
            Self::Null
                | Self::Opaque(_)
                | Self::Optional(_)
                | Self::Object(_)
                | Self::Variables
                | Self::Mutation(_)
                | Self::Duration
                | Self::Timestamp
        )
    }
}

/// The types that are bound to free variables.
#[derive(Clone, Default)]
pub(crate) struct Mapping {
    bound: Vec<Option<Type>>,
}

impl Mapping {
    /// Makes a free variable.
    pub(crate) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Var(self.bound.len() as u32 - 1)
    }

    fn find(&self, variable: u32) -> Option<&Type> {
        self.bound.get(variable as usize)?.as_ref()
    }

    fn bind(&mut self, variable: u32, to: Type) {
        if let Some(slot) = self.bound.get_mut(variable as usize) {
            *slot = Some(to);
        }
    }

    /// Replaces variables by what they stand for; free ones by `dyn` if asked to.
    pub(crate) fn substitute(&self, of: &Type, free_to_dyn: bool) -> Type {
        let again = |of: &Type| self.substitute(of, free_to_dyn);
        match of {
            Type::Var(variable) => match self.find(*variable) {
                Some(bound) => again(bound),
                None if free_to_dyn => Type::Dyn,
                None => of.clone(),
            },
            Type::List(of) => Type::list(again(of)),
            Type::Map(entry) => Type::map(again(&entry.0), again(&entry.1)),
            Type::Type(of) => Type::Type(Box::new(again(of))),
            Type::Optional(of) => Type::optional(again(of)),
            other => other.clone(),
        }
    }

    /// Returns whether a value of one type can stand where the other one is asked for, and binds
    /// variables so that it can.
    pub(crate) fn assign(&mut self, a: &Type, b: &Type) -> bool {
        let before = self.clone();
        let fits = self.fits(a, b);
        if !fits {
            *self = before;
        }
        fits
    }

    /// Like `assign`, for several pairs.
    pub(crate) fn assign_all(&mut self, a: &[Type], b: &[Type]) -> bool {
        let before = self.clone();
        let fits = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.fits(a, b));
        if !fits {
            *self = before;
        }
        fits
    }

    fn fits(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Var(variable) = b {
            let (is_valid, is_bound) = self.bind_to(a, *variable);
            if is_valid {
                return true;
            }
            if is_bound {
                return false;
            }
        }
        if let Type::Var(variable) = a {
            return self.bind_to(b, *variable).0;
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        if matches!(a, Type::Null) {
            return b.is_nullable();
        }
        if matches!(b, Type::Null) {
            return a.is_nullable();
        }
        if a.kind() != b.kind() {
            return false;
        }
        match (a, b) {
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                self.fits(a, b)
            }
            (Type::Map(a), Type::Map(b)) => self.fits(&a.0, &b.0) && self.fits(&a.1, &b.1),
            (Type::Object(a), Type::Object(b)) => core::ptr::eq(*a, *b),
            (a, b) => a == b,
        }
    }

    /// Binds a variable to a type, or to the more general one of it and what it stands for.
    /// Returns whether that is possible, and whether the variable was bound already.
    fn bind_to(&mut self, to: &Type, variable: u32) -> (bool, bool) {
        if *to == Type::Var(variable) {
            return (true, true);
        }
        if let Some(bound) = self.find(variable).cloned() {
            if *to == bound {
                return (true, true);
            }
            if !self.fits(to, &bound) {
                return (false, true);
            }
            let general = most_general(to, &bound);
            if !self.occurs(variable, &general) {
                self.bind(variable, general);
            }
            return (true, true);
        }
        if self.occurs(variable, to) {
            return (false, false);
        }
        self.bind(variable, to.clone());
        (true, false)
    }

    /// Returns whether a variable is part of a type.
    fn occurs(&self, variable: u32, within: &Type) -> bool {
        match within {
            Type::Var(other) if *other == variable => true,
            Type::Var(other) => self
                .find(*other)
                .is_some_and(|bound| self.occurs(variable, bound)),
            other => other
                .parameters()
                .into_iter()
                .flatten()
                .any(|parameter| self.occurs(variable, parameter)),
        }
    }
}

/// Returns the more general one of two types that fit each other.
pub(crate) fn most_general(a: &Type, b: &Type) -> Type {
    // Two hints are as general as each other; only the same one is kept.
    if let (Type::Hint(x), Type::Hint(y)) = (a, b) {
        return if core::ptr::eq(*x, *y) {
            a.clone()
        } else {
            Type::Dyn
        };
    }
    if is_less_specific(a, b) { a } else { b }.clone()
}

fn is_less_specific(a: &Type, b: &Type) -> bool {
    if a.is_dyn() || matches!(a, Type::Var(_)) {
        return true;
    }
    if b.is_dyn() || matches!(b, Type::Var(_)) || a.kind() != b.kind() {
        return false;
    }
    match (a, b) {
        (Type::Type(_), _) => true,
        (Type::List(_) | Type::Map(_) | Type::Optional(_), _) => {
            let pairs = a.parameters().into_iter().zip(b.parameters());
            pairs.into_iter().all(|pair| {
                matches!(pair, (Some(a), Some(b)) if is_less_specific(a, b)) || pair.0.is_none()
            })
        }
        (a, b) => a == b,
    }
}
