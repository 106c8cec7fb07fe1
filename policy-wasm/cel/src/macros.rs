//! The macros: calls that the parser replaces.

use crate::ast::{Expr, Kind, Loop, LoopKind};
use crate::error::CompileError;
use crate::parser::Parser;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

/// A macro of a member, by name and number of arguments.
struct Macro {
    name: &'static str,
    arguments: usize,
    kind: LoopKind,
    /// The variables that its first arguments name.
    variables: usize,
}

const fn of(name: &'static str, arguments: usize, kind: LoopKind, variables: usize) -> Macro {
    Macro {
        name,
        arguments,
        kind,
        variables,
    }
}

const MACROS: [Macro; 19] = [
    of("all", 2, LoopKind::All, 1),
    of("all", 3, LoopKind::All, 2),
    of("exists", 2, LoopKind::Exists, 1),
    of("exists", 3, LoopKind::Exists, 2),
    of("exists_one", 2, LoopKind::ExistsOne, 1),
    of("exists_one", 3, LoopKind::ExistsOne, 2),
    of("existsOne", 3, LoopKind::ExistsOne, 2),
    of("filter", 2, LoopKind::Filter, 1),
    of("map", 2, LoopKind::Map, 1),
    of("map", 3, LoopKind::Map, 1),
    of("transformList", 3, LoopKind::Map, 2),
    of("transformList", 4, LoopKind::Map, 2),
    of("transformMap", 3, LoopKind::TransformMap, 2),
    of("transformMap", 4, LoopKind::TransformMap, 2),
    of("transformMapEntry", 3, LoopKind::TransformMapEntry, 2),
    of("transformMapEntry", 4, LoopKind::TransformMapEntry, 2),
    of("sortBy", 2, LoopKind::SortBy, 1),
    of("optMap", 2, LoopKind::OptMap, 1),
    of("optFlatMap", 2, LoopKind::OptFlatMap, 1),
];

/// Makes the node of a call, or of the macro that it names.
pub(crate) fn expand(
    parser: &Parser<'_>,
    offset: u32,
    name: &str,
    target: Option<Expr>,
    arguments: Vec<Expr>,
) -> Result<Expr, CompileError> {
    match target {
        None if name == "has" && arguments.len() == 1 => has(parser, offset, arguments),
        None => parser.plain_call(offset, name, None, arguments),
        Some(range) => {
            let found = MACROS
                .iter()
                .find(|found| found.name == name && found.arguments == arguments.len());
            match found {
                Some(found) => expand_loop(parser, offset, found, range, arguments),
                None => parser.plain_call(offset, name, Some(range), arguments),
            }
        }
    }
}

fn has(parser: &Parser<'_>, offset: u32, mut arguments: Vec<Expr>) -> Result<Expr, CompileError> {
    match arguments.pop() {
        Some(Expr {
            offset: field_offset,
            depth,
            kind:
                Kind::Select {
                    operand,
                    field,
                    is_optional: false,
                },
        }) => parser.node(field_offset, depth - 1, Kind::Has { operand, field }),
        argument => {
            let offset = argument.map_or(offset, |argument| argument.offset);
            Err(parser.error(
                offset,
                "invalid argument to has() macro: it takes the selection of a field, such as \
                 has(object.spec)",
            ))
        }
    }
}

fn expand_loop(
    parser: &Parser<'_>,
    offset: u32,
    found: &Macro,
    range: Expr,
    arguments: Vec<Expr>,
) -> Result<Expr, CompileError> {
    let depths = core::iter::once(&range).chain(&arguments);
    let depth = depths.map(|expr| expr.depth).max().unwrap_or(0);
    let mut arguments = arguments.into_iter();
    let mut variables: Vec<alloc::string::String> = Vec::with_capacity(2);
    for argument in arguments.by_ref().take(found.variables) {
        let Kind::Name(name) = argument.kind else {
            return Err(parser.error(argument.offset, "argument must be a simple name"));
        };
        if name == "__result__" || name.starts_with('.') {
            return Err(parser.error(
                argument.offset,
                "iteration variable overwrites accumulator variable",
            ));
        }
        if variables.contains(&name) {
            return Err(parser.error(argument.offset, format!("duplicate variable name: {name}")));
        }
        variables.push(name);
    }
    let second = if found.variables == 2 {
        variables.pop()
    } else {
        None
    };
    let is_predicate = matches!(
        found.kind,
        LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne | LoopKind::Filter
    );
    let rest: Vec<_> = arguments.collect();
    let mut rest = rest.into_iter();
    let (condition, body) = match rest.len() {
        1 if is_predicate => (rest.next(), None),
        1 => (None, rest.next()),
        _ => (rest.next(), rest.next()),
    };
    let variable = variables.pop().unwrap_or_default();
    let kind = Kind::Loop(Box::new(Loop {
        kind: found.kind,
        range,
        variable,
        second,
        condition,
        body,
    }));
    parser.node(offset, depth, kind)
}
