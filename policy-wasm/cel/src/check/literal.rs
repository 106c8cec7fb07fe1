//! Constant arguments that the API server checks when it stores a policy.

use super::{Checker, strict};
use crate::ast::{Element, Expr, Kind};
use crate::functions::{part_of, printf, time};
use crate::signatures::Function;
use crate::types::Type;
use alloc::format;
use alloc::vec::Vec;

impl Checker<'_> {
    /// Checks constant arguments that the API server checks, too.
    pub(super) fn validate_literals(
        &mut self,
        function: Function,
        is_member: bool,
        target: Option<&Expr>,
        arguments: &[Expr],
        types: &[Type],
    ) {
        match (function, arguments) {
            (Function::Duration, [argument]) => {
                if let Kind::String(text) = &argument.kind
                    && time::parse_duration(text).is_none()
                {
                    self.error(argument.offset, "invalid duration argument");
                }
            }
            (Function::Timestamp, [argument]) => {
                if let Kind::String(text) = &argument.kind
                    && !matches!(time::Timestamp::parse(text), Some(Ok(_)))
                {
                    self.error(argument.offset, "invalid timestamp argument");
                }
            }
            // An API server knows named zones, too: better no policy than one that fails later.
            (function, [argument]) if part_of(function).is_some() => {
                if let Kind::String(zone) = &argument.kind
                    && !time::is_known_zone(zone)
                {
                    self.error(argument.offset, time::unknown_zone(zone));
                }
            }
            (Function::Format, [argument]) if is_member => {
                if let Some(Kind::String(format)) = target.map(|target| &target.kind)
                    && let Kind::List(elements) = &argument.kind
                {
                    self.validate_format(argument.offset, format, elements, &types[1..]);
                }
            }
            _ => {}
        }
    }

    fn validate_format(&mut self, offset: u32, format: &str, elements: &[Element], types: &[Type]) {
        let pieces = match printf::pieces(format) {
            Ok(pieces) => pieces,
            Err(problem) => {
                self.error(offset, problem);
                return;
            }
        };
        let clauses: Vec<_> = pieces
            .iter()
            .filter_map(|piece| match piece {
                printf::Piece::Clause(clause) => Some(clause.verb),
                printf::Piece::Text(_) => None,
            })
            .collect();
        if clauses.len() > elements.len() {
            self.error(offset, format!("index {} out of range", elements.len()));
            return;
        }
        if clauses.len() < elements.len() {
            let message = format!(
                "too many arguments supplied to string.format (expected {}, got {})",
                clauses.len(),
                elements.len()
            );
            self.error(offset, message);
            return;
        }
        let Some(Type::List(element)) = types
            .first()
            .map(|found| self.mapping.substitute(found, true))
        else {
            return;
        };
        let element = strict(&element);
        for (verb, argument) in clauses.iter().zip(elements) {
            if !printf_takes(*verb, &element) {
                let message = verb.refuses(&element.name());
                self.error(argument.value.offset, message);
                return;
            }
        }
    }
}

/// Returns whether a clause of a format can write a type.
fn printf_takes(verb: printf::Verb, found: &Type) -> bool {
    use printf::Verb;
    if matches!(found, Type::Dyn | Type::Error | Type::Var(_)) {
        return true;
    }
    match verb {
        Verb::Text => !matches!(
            found,
            Type::Opaque(_) | Type::Optional(_) | Type::Object(_) | Type::Mutation(_)
        ),
        Verb::Decimal | Verb::Octal => matches!(found, Type::Int | Type::Uint),
        Verb::Fixed | Verb::Scientific => matches!(found, Type::Double | Type::String),
        Verb::Binary => matches!(found, Type::Int | Type::Uint | Type::Bool),
        Verb::Hex | Verb::UpperHex => {
            matches!(found, Type::Int | Type::Uint | Type::String | Type::Bytes)
        }
    }
}
