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
