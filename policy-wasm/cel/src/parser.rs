//! The parser: the grammar of CEL with optional syntax, as the API server has it.
//!
//! Binary operators are read by precedence climbing, so that a level of nesting takes few frames of
//! the stack. Chains of `&&` and `||` become one node.

use crate::ast::{Element, Expr, Field, Kind, MAX_DEPTH, Pair};
use crate::error::CompileError;
use crate::lexer::{Spanned, Token, tokens};
use crate::macros;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The longest expression, in bytes.
pub const MAX_LENGTH: usize = 32 * 1024;

/// Words that can't be names.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The binary operators with their functions and precedences.
const OPERATORS: [(&str, &str, u8); 14] = [
    ("||", "_||_", 1),
    ("&&", "_&&_", 2),
    ("<", "_<_", 3),
    ("<=", "_<=_", 3),
    (">=", "_>=_", 3),
    (">", "_>_", 3),
    ("==", "_==_", 3),
    ("!=", "_!=_", 3),
    ("in", "@in", 3),
    ("+", "_+_", 4),
    ("-", "_-_", 4),
    ("*", "_*_", 5),
    ("/", "_/_", 5),
    ("%", "_%_", 5),
];

/// Parses an expression.
pub(crate) fn parse(source: &str) -> Result<Expr, CompileError> {
    if source.len() > MAX_LENGTH {
        return Err(CompileError::at(
            source,
            0,
            format!(
                "the expression has {} bytes; at most {MAX_LENGTH} are allowed",
                source.len()
            ),
        ));
    }
    let mut parser = Parser {
        source,
        tokens: tokens(source)?,
        at: 0,
        nesting: 0,
    };
    let expr = parser.expr()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("the end of the expression")),
    }
}

pub(crate) struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Spanned<'s>>,
    at: usize,
    nesting: u16,
}

impl<'s> Parser<'s> {
    fn peek(&self) -> &Token<'s> {
        &self.tokens[self.at].token
    }

    fn offset(&self) -> u32 {
        self.tokens[self.at].offset
    }

    fn advance(&mut self) -> Token<'s> {
        let token = self.tokens[self.at].token.clone();
        // The last token is the end, and stays.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn skip(&mut self, symbol: &str) -> bool {
        let is = self.is(symbol);
        if is {
            self.advance();
        }
        is
    }

    fn expect(&mut self, symbol: &str) -> Result<(), CompileError> {
        if self.skip(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&format!("'{symbol}'")))
    }

    #[cold]
    pub(crate) fn error(&self, offset: u32, message: impl Into<String>) -> CompileError {
        CompileError::at(self.source, offset, message)
    }

    #[cold]
    fn unexpected(&self, expected: &str) -> CompileError {
        let found = match self.peek() {
            Token::End => "the end of the expression".to_owned(),
            _ => {
                let start = self.offset() as usize;
                let next = self.tokens.get(self.at + 1);
                let end = next.map_or(self.source.len(), |next| next.offset as usize);
                let text = self.source[start..end].trim_end();
                let shown: String = text.chars().take(40).collect();
                format!("'{shown}'")
            }
        };
        self.error(
            self.offset(),
            format!("Syntax error: found {found}, expected {expected}"),
        )
    }

    /// Makes a node, if the tree doesn't become too deep.
    pub(crate) fn node(&self, offset: u32, depth: u16, kind: Kind) -> Result<Expr, CompileError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(
                offset,
                format!("the expression nests deeper than {MAX_DEPTH} levels"),
            ));
        }
        Ok(Expr {
            offset,
            depth: depth + 1,
            kind,
        })
    }

    fn call(
        &self,
        offset: u32,
        name: &str,
        target: Option<Expr>,
        arguments: Vec<Expr>,
    ) -> Result<Expr, CompileError> {
        let all = target.iter().chain(&arguments);
        let depth = all.map(|expr| expr.depth).max().unwrap_or(0);
        let kind = Kind::Call {
            name: name.to_owned(),
            target: target.map(Box::new),
            arguments,
        };
        self.node(offset, depth, kind)
    }

    /// `or ? or : expr`.
    fn expr(&mut self) -> Result<Expr, CompileError> {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return Err(self.error(
                self.offset(),
                format!("the expression nests deeper than {MAX_DEPTH} levels"),
            ));
        }
        let condition = self.binary(1)?;
        let offset = self.offset();
        let expr = if self.skip("?") {
            let then = self.binary(1)?;
            self.expect(":")?;
            let otherwise = self.expr()?;
            self.call(offset, "_?_:_", None, vec![condition, then, otherwise])?
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(expr)
    }

    fn operator(&self) -> Option<(&'static str, &'static str, u8)> {
        let Token::Symbol(symbol) = self.peek() else {
            return None;
        };
        OPERATORS
            .iter()
            .find(|(found, ..)| found == symbol)
            .copied()
    }

    /// Reads operators of at least a precedence. All are left-associative.
    fn binary(&mut self, least: u8) -> Result<Expr, CompileError> {
        let mut left = self.unary()?;
        while let Some((symbol, function, precedence)) = self.operator() {
            if precedence < least {
                break;
            }
            let offset = self.offset();
            if precedence <= 2 {
                let mut terms = vec![left];
                while self.skip(symbol) {
                    terms.push(self.binary(precedence + 1)?);
                }
                let depth = terms.iter().map(|term| term.depth).max().unwrap_or(0);
                let kind = if precedence == 1 {
                    Kind::Or(terms)
                } else {
                    Kind::And(terms)
                };
                left = self.node(offset, depth, kind)?;
                continue;
            }
            self.advance();
            let right = self.binary(precedence + 1)?;
            left = self.call(offset, function, None, vec![left, right])?;
        }
        Ok(left)
    }

    /// `!` and `-`, any number of them.
    fn unary(&mut self) -> Result<Expr, CompileError> {
        let offset = self.offset();
        for (symbol, function) in [("!", "!_"), ("-", "-_")] {
            let mut count = 0;
            while self.is(symbol) && !self.is_negative_number() {
                self.advance();
                count += 1;
            }
            if count > 0 {
                let operand = self.member()?;
                return if count % 2 == 0 {
                    Ok(operand)
                } else {
                    self.call(offset, function, None, vec![operand])
                };
            }
        }
        self.member()
    }

    /// Returns whether `-` belongs to a number.
    fn is_negative_number(&self) -> bool {
        let next = self.tokens.get(self.at + 1).map(|next| &next.token);
        self.is("-") && matches!(next, Some(Token::Int(_) | Token::Float(_)))
    }

    fn member(&mut self) -> Result<Expr, CompileError> {
        let mut expr = self.primary()?;
        loop {
            if self.skip(".") {
                expr = self.selection(expr)?;
            } else if self.is("[") {
                let offset = self.offset();
                self.advance();
                let function = if self.skip("?") { "_[?_]" } else { "_[_]" };
                let index = self.expr()?;
                self.expect("]")?;
                expr = self.call(offset, function, None, vec![expr, index])?;
            } else if self.is("{") && qualified(&expr).is_some() {
                let name = qualified(&expr).unwrap_or_default();
                expr = self.object(expr.offset, name)?;
            } else {
                return Ok(expr);
            }
        }
    }

    /// Reads what follows a dot: a field, or a call of a member.
    fn selection(&mut self, operand: Expr) -> Result<Expr, CompileError> {
        let is_optional = self.skip("?");
        let offset = self.offset();
        let Token::Identifier(name) = self.peek() else {
            return Err(self.unexpected("the name of a field"));
        };
        let name = (*name).to_owned();
        self.advance();
        if self.is("(") && !is_optional {
            let arguments = self.arguments()?;
            return macros::expand(self, offset, &name, Some(operand), arguments);
        }
        let depth = operand.depth;
        let kind = Kind::Select {
            operand: Box::new(operand),
            field: name,
            is_optional,
        };
        self.node(offset, depth, kind)
    }

    /// Makes the node of a call that is no macro.
    pub(crate) fn plain_call(
        &self,
        offset: u32,
        name: &str,
        target: Option<Expr>,
        arguments: Vec<Expr>,
    ) -> Result<Expr, CompileError> {
        self.call(offset, name, target, arguments)
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, CompileError> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        if self.skip(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expr()?);
            if self.skip(")") {
                return Ok(arguments);
            }
            if !self.skip(",") {
                return Err(self.unexpected("',' or ')'"));
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, CompileError> {
        let offset = self.offset();
        let leaf = |parser: &Self, kind| parser.node(offset, 0, kind);
        match self.advance() {
            Token::Symbol("(") => {
                let expr = self.expr()?;
                self.expect(")")?;
                Ok(expr)
            }
            Token::Symbol("[") => self.list(offset),
            Token::Symbol("{") => self.map(offset),
            Token::Symbol("-") => self.number(offset, "-"),
            Token::Symbol("true") => leaf(self, Kind::Bool(true)),
            Token::Symbol("false") => leaf(self, Kind::Bool(false)),
            Token::Symbol("null") => leaf(self, Kind::Null),
            Token::Symbol(".") => match self.advance() {
                Token::Identifier(name) => self.name(offset, &format!(".{name}")),
                _ => Err(self.error(offset, "Syntax error: expected a name after '.'")),
            },
            Token::Identifier(name) => self.name(offset, name),
            Token::String(text) => leaf(self, Kind::String(text)),
            Token::Bytes(bytes) => leaf(self, Kind::Bytes(bytes)),
            Token::Int(_) | Token::Uint(_) | Token::Float(_) => {
                self.at -= 1;
                self.number(offset, "")
            }
            _ => {
                self.at = self.tokens.partition_point(|token| token.offset < offset);
                Err(self.unexpected("an expression"))
            }
        }
    }

    fn number(&mut self, offset: u32, sign: &str) -> Result<Expr, CompileError> {
        let token = self.advance();
        let invalid = |kind: &str| self.error(offset, format!("invalid {kind} literal"));
        let kind = match token {
            Token::Int(digits) => {
                let number = match digits.strip_prefix("0x") {
                    Some(digits) => i64::from_str_radix(&format!("{sign}{digits}"), 16),
                    None => format!("{sign}{digits}").parse(),
                };
                Kind::Int(number.map_err(|_| invalid("int"))?)
            }
            Token::Uint(digits) => {
                let number = match digits.strip_prefix("0x") {
                    Some(digits) => u64::from_str_radix(digits, 16),
                    None => digits.parse(),
                };
                Kind::Uint(number.map_err(|_| invalid("uint"))?)
            }
            Token::Float(digits) => {
                let number: Result<f64, _> = format!("{sign}{digits}").parse();
                let number = number.ok().filter(|number| number.is_finite());
                Kind::Double(number.ok_or_else(|| invalid("double"))?)
            }
            _ => return Err(self.unexpected("a number")),
        };
        self.node(offset, 0, kind)
    }

    /// Reads what a name begins: a name, or a call.
    fn name(&mut self, offset: u32, name: &str) -> Result<Expr, CompileError> {
        if RESERVED.contains(&name.trim_start_matches('.')) {
            return Err(self.error(offset, format!("reserved identifier: {name}")));
        }
        if self.is("(") {
            let arguments = self.arguments()?;
            return macros::expand(self, offset, name, None, arguments);
        }
        self.node(offset, 0, Kind::Name(name.to_owned()))
    }

    fn list(&mut self, offset: u32) -> Result<Expr, CompileError> {
        let mut elements = Vec::new();
        while !self.skip("]") {
            let is_optional = self.skip("?");
            let value = self.expr()?;
            elements.push(Element { value, is_optional });
            if !self.skip(",") && !self.is("]") {
                return Err(self.unexpected("',' or ']'"));
            }
        }
        let depths = elements.iter().map(|element| element.value.depth);
        let depth = depths.max().unwrap_or(0);
        self.node(offset, depth, Kind::List(elements))
    }

    fn map(&mut self, offset: u32) -> Result<Expr, CompileError> {
        let mut pairs = Vec::new();
        while !self.skip("}") {
            let is_optional = self.skip("?");
            let key = self.expr()?;
            self.expect(":")?;
            let value = self.expr()?;
            pairs.push(Pair {
                key,
                value,
                is_optional,
            });
            if !self.skip(",") && !self.is("}") {
                return Err(self.unexpected("',' or '}'"));
            }
        }
        let depths = pairs
            .iter()
            .map(|pair| pair.key.depth.max(pair.value.depth));
        let depth = depths.max().unwrap_or(0);
        self.node(offset, depth, Kind::Map(pairs))
    }

    fn object(&mut self, offset: u32, name: String) -> Result<Expr, CompileError> {
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.skip("}") {
            let is_optional = self.skip("?");
            let offset = self.offset();
            let Token::Identifier(name) = self.peek() else {
                return Err(self.unexpected("the name of a field"));
            };
            let name = (*name).to_owned();
            self.advance();
            self.expect(":")?;
            fields.push(Field {
                name,
                offset,
                value: self.expr()?,
                is_optional,
            });
            if !self.skip(",") && !self.is("}") {
                return Err(self.unexpected("',' or '}'"));
            }
        }
        let depths = fields.iter().map(|field| field.value.depth);
        let depth = depths.max().unwrap_or(0);
        self.node(offset, depth, Kind::Struct { name, fields })
    }
}

/// Returns the name that a chain of fields spells: `a.b.c`.
pub(crate) fn qualified(expr: &Expr) -> Option<String> {
    match &expr.kind {
        Kind::Name(name) => Some(name.clone()),
        Kind::Select {
            operand,
            field,
            is_optional: false,
        } => {
            let mut name = qualified(operand)?;
            name.push('.');
            name.push_str(field);
            Some(name)
        }
        _ => None,
    }
}
