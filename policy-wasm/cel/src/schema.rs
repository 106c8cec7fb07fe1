//! The schema of the objects that expressions read.

use crate::types::Type;

/// The schema of a value whose type is dynamic to the checker's rules.
#[derive(Debug, PartialEq)]
pub enum Schema {
    /// A string.
    String,
    /// An integer.
    Int,
    /// A bool.
    Bool,
    /// Anything.
    Any,
    /// A list.
    List(&'static Schema),
    /// A map from strings.
    Map(&'static Schema),
    /// An object with these fields and no others.
    Object(&'static [(&'static str, &'static Schema)]),
}

/// An object with a declared type.
#[derive(Debug, PartialEq)]
pub struct Object {
    /// The name of the type.
    pub name: &'static str,
    /// The fields.
    pub fields: &'static [(&'static str, Field)],
    /// Fields that the API server has and Sallyport hasn't, with the reason.
    pub missing: &'static [(&'static str, &'static str)],
}

/// The type of a declared field.
#[derive(Debug, PartialEq)]
pub enum Field {
    /// A string.
    String,
    /// A bool.
    Bool,
    /// A list of strings.
    Strings,
    /// A map of strings to strings.
    StringMap,
    /// A map of strings to lists of strings.
    StringListMap,
    /// Another object.
    Object(&'static Object),
}

impl Object {
    /// Returns the type of a field.
    pub(crate) fn field(&self, name: &str) -> Option<Type> {
        let (_, field) = self.fields.iter().find(|(found, _)| *found == name)?;
        Some(match field {
            Field::String => Type::String,
            Field::Bool => Type::Bool,
            Field::Strings => Type::list(Type::String),
            Field::StringMap => Type::map(Type::String, Type::String),
            Field::StringListMap => Type::map(Type::String, Type::list(Type::String)),
            Field::Object(object) => Type::Object(object),
        })
    }
}

impl Schema {
    /// Returns the type that values of this schema have.
    pub(crate) fn strict(&self) -> Type {
        match self {
            Self::String => Type::String,
            Self::Int => Type::Int,
            Self::Bool => Type::Bool,
            Self::Any => Type::Dyn,
            Self::List(element) => Type::list(element.strict()),
            Self::Map(value) => Type::map(Type::String, value.strict()),
            Self::Object(_) => Type::map(Type::String, Type::Dyn),
        }
    }

    /// Returns the names of an object's fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static str> {
        let fields = match self {
            Self::Object(fields) => *fields,
            _ => &[],
        };
        fields.iter().map(|(name, _)| *name)
    }
}
