//! The tree that the parser makes of an expression, with macros expanded into loops.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// The deepest tree. It bounds the stack that checking and evaluating take.
pub(crate) const MAX_DEPTH: u16 = 200;

/// An expression.
pub(crate) struct Expr {
    /// Where it stands: the operator of an operation, the name of a call or a field.
    pub(crate) offset: u32,
    /// The levels of the tree from here on.
    pub(crate) depth: u16,
    pub(crate) kind: Kind,
}

impl Expr {
    /// Calls a function with each expression that this one consists of.
    pub(crate) fn each_child<'e>(&'e self, call: &mut dyn FnMut(&'e Expr)) {
        match &self.kind {
            Kind::Null
            | Kind::Bool(_)
            | Kind::Int(_)
            | Kind::Uint(_)
            | Kind::Double(_)
            | Kind::String(_)
            | Kind::Bytes(_)
            | Kind::Name(_) => {}
            Kind::Select { operand, .. } | Kind::Has { operand, .. } => call(operand),
            Kind::Call {
                target, arguments, ..
            } => target
                .as_deref()
                .into_iter()
                .chain(arguments)
                .for_each(call),
            Kind::And(terms) | Kind::Or(terms) => terms.iter().for_each(call),
            Kind::List(elements) => elements.iter().for_each(|element| call(&element.value)),
            Kind::Map(pairs) => pairs.iter().for_each(|pair| {
                call(&pair.key);
                call(&pair.value);
            }),
            Kind::Struct { fields, .. } => fields.iter().for_each(|field| call(&field.value)),
            Kind::Loop(found) => {
                let parts = found.condition.iter().chain(&found.body);
                core::iter::once(&found.range).chain(parts).for_each(call);
            }
        }
    }
}

/// A form of expression.
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    /// A name, with a dot before it if it must not be a local one.
    Name(String),
    Select {
        operand: Box<Expr>,
        field: String,
        is_optional: bool,
    },
    /// `has(operand.field)`.
    Has {
        operand: Box<Expr>,
        field: String,
    },
    Call {
        name: String,
        target: Option<Box<Expr>>,
        arguments: Vec<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    List(Vec<Element>),
    Map(Vec<Pair>),
    Struct {
        name: String,
        fields: Vec<Field>,
    },
    Loop(Box<Loop>),
}

/// An element of a list.
pub(crate) struct Element {
    pub(crate) value: Expr,
    pub(crate) is_optional: bool,
}

/// An entry of a map.
pub(crate) struct Pair {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) is_optional: bool,
}

/// A field of an object.
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) offset: u32,
    pub(crate) value: Expr,
    pub(crate) is_optional: bool,
}

/// A macro that evaluates an expression for each element of a range.
pub(crate) struct Loop {
    pub(crate) kind: LoopKind,
    pub(crate) range: Expr,
    pub(crate) variable: String,
    /// The second variable of the form with two: the index or key is the first one then.
    pub(crate) second: Option<String>,
    /// The predicate, or the filter before a transformation.
    pub(crate) condition: Option<Expr>,
    /// The transformation.
    pub(crate) body: Option<Expr>,
}

/// A kind of macro.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    /// `map` and `transformList`.
    Map,
    TransformMap,
    TransformMapEntry,
    SortBy,
    OptMap,
    OptFlatMap,
}
