//! Keys that expressions read of a variable whose value is known when they are compiled: the
//! parameters in a policy's settings.
//!
//! A key that the value does not have is an error in each evaluation that reads it. Invariant: what
//! is reported can have no value. So a key that some expression of the policy tests for is left
//! alone, and so is everything behind a condition about the variable alone (`params.kind == 'a' &&
//! params.a > 3`).

use crate::ast::{Expr, Kind, Loop, LoopKind};
use crate::check::nearest;
use crate::error::CompileError;
use crate::json::{Json, Node};
use crate::parser;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

/// The keys that an error lists.
const MAX_LISTED: usize = 8;

/// The keys among which an error looks for the nearest one, and the bytes of each: looking takes
/// time in proportion to their product.
const MAX_COMPARED: usize = 256;
const MAX_KEY: usize = 64;

/// The most values that an expression may have here. More count as not known, because each use of
/// a macro's variable copies them, and the heap of a component frees nothing.
const MAX_VALUES: usize = 64;

/// A variable with its value.
pub struct KnownVariable<'a> {
    name: &'static str,
    value: Node<'a>,
    /// Keys for which an expression tests, of whatever object.
    tested: Vec<String>,
}

impl<'a> KnownVariable<'a> {
    /// Makes a variable, for whose keys no expression tests yet.
    pub fn new(name: &'static str, value: Node<'a>) -> Self {
        Self {
            name,
            value,
            tested: Vec::new(),
        }
    }

    /// Notes the keys for which a valid expression tests: `has(params.key)`, `params.?key`,
    /// `params[?'key']` and `'key' in params`.
    pub fn note_tests(&mut self, source: &str) {
        if let Ok(expr) = parser::parse(source) {
            self.note(&expr);
        }
    }

    fn note(&mut self, expr: &Expr) {
        match &expr.kind {
            Kind::Has { field, .. }
            | Kind::Select {
                field,
                is_optional: true,
                ..
            } => self.tested.push(field.clone()),
            Kind::Call {
                name, arguments, ..
            } if name == "@in" || name == "_[?_]" => {
                let texts = arguments
                    .iter()
                    .filter_map(|argument| match &argument.kind {
                        Kind::String(text) => Some(text.clone()),
                        _ => None,
                    });
                self.tested.extend(texts);
            }
            _ => {}
        }
        expr.each_child(&mut |child| self.note(child));
    }

    /// Returns an error for each key that a valid expression reads and the value does not have.
    pub fn missing_keys(&self, source: &str) -> Vec<CompileError> {
        let Ok(expr) = parser::parse(source) else {
            return Vec::new();
        };
        let mut search = Search {
            variable: self,
            source,
            locals: Vec::new(),
            errors: Vec::new(),
        };
        search.values(&expr);
        search.errors
    }

    /// Returns whether an expression reads this variable, and nothing else but its own locals.
    fn decides(&self, expr: &Expr) -> bool {
        let (mut reads, mut reads_others) = (false, false);
        names(expr, &mut Vec::new(), &mut |name| {
            if name == self.name {
                reads = true;
            } else {
                reads_others = true;
            }
        });
        reads && !reads_others
    }
}

/// Calls a function with each name in an expression that is not a variable of its macros.
fn names<'e>(expr: &'e Expr, locals: &mut Vec<&'e str>, call: &mut dyn FnMut(&'e str)) {
    if let Kind::Name(name) = &expr.kind
        && !locals.contains(&name.as_str())
    {
        call(name.trim_start_matches('.'));
    }
    let Kind::Loop(found) = &expr.kind else {
        return expr.each_child(&mut |child| names(child, locals, call));
    };
    names(&found.range, locals, call);
    let depth = locals.len();
    locals.push(&found.variable);
    locals.extend(found.second.as_deref());
    for part in found.condition.iter().chain(&found.body) {
        names(part, locals, call);
    }
    locals.truncate(depth);
}

/// A walk through an expression.
struct Search<'k, 'a> {
    variable: &'k KnownVariable<'a>,
    source: &'k str,
    /// The variables of the macros around, with the values that they may have.
    locals: Vec<(String, Vec<Node<'a>>)>,
    errors: Vec<CompileError>,
}

impl<'a> Search<'_, 'a> {
    /// Returns the values that an expression may have; none if they are not known.
    fn values(&mut self, expr: &Expr) -> Vec<Node<'a>> {
        match &expr.kind {
            Kind::Name(name) => self.named(name),
            Kind::Select {
                operand,
                field,
                is_optional: false,
            } => {
                let of = self.values(operand);
                self.members(expr.offset, &of, field)
            }
            Kind::Call {
                name, arguments, ..
            } => self.call(expr, name, arguments),
            Kind::And(terms) | Kind::Or(terms) => self.terms(terms),
            Kind::Loop(found) => self.walk(found),
            _ => self.children(expr),
        }
    }

    fn children(&mut self, expr: &Expr) -> Vec<Node<'a>> {
        expr.each_child(&mut |child| {
            self.values(child);
        });
        Vec::new()
    }

    fn named(&self, name: &str) -> Vec<Node<'a>> {
        if let Some((_, values)) = self.locals.iter().rfind(|(found, _)| found == name) {
            return values.clone();
        }
        if name.trim_start_matches('.') == self.variable.name {
            return vec![self.variable.value];
        }
        Vec::new()
    }

    /// Returns the values of a key. That none of some objects has it is an error.
    fn members(&mut self, offset: u32, of: &[Node<'a>], key: &str) -> Vec<Node<'a>> {
        let is_object = |node: &&Node<'_>| matches!(node.open(), Json::Object(_));
        let objects: Vec<_> = of.iter().filter(is_object).collect();
        let found: Vec<_> = objects.iter().filter_map(|node| node.member(key)).collect();
        let is_missing = found.is_empty() && !of.is_empty() && objects.len() == of.len();
        if is_missing && !self.variable.tested.iter().any(|known| known == key) {
            let message = self.message(of, key);
            self.errors
                .push(CompileError::at(self.source, offset, message));
        }
        found
    }

    fn message(&self, of: &[Node<'a>], key: &str) -> String {
        let mut known: Vec<&str> = Vec::new();
        let names = of
            .iter()
            .flat_map(|node| node.members())
            .map(|(name, _)| name);
        for name in names
            .filter(|name| name.len() <= MAX_KEY)
            .take(MAX_COMPARED)
        {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        let advice = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None if known.is_empty() => "it has none".to_string(),
            None => {
                let more = if known.len() > MAX_LISTED {
                    ", …"
                } else {
                    ""
                };
                known.truncate(MAX_LISTED);
                format!("given are {}{more}", known.join(", "))
            }
        };
        format!(
            "undefined field '{key}': the setting {} does not give it; {advice} Where it may be \
             missing, write .?{key} or test it with has()",
            self.variable.name
        )
    }

    fn call(&mut self, expr: &Expr, name: &str, arguments: &[Expr]) -> Vec<Node<'a>> {
        match (name, arguments) {
            ("_[_]", [of, index]) => {
                let of = self.values(of);
                if let Kind::String(key) = &index.kind {
                    return self.members(expr.offset, &of, key);
                }
                self.values(index);
                elements(&of)
            }
            ("_?_:_", [condition, ..]) if self.variable.decides(condition) => {
                self.values(condition);
                Vec::new()
            }
            _ => self.children(expr),
        }
    }

    /// Walks through the operands of `&&` and `||`, up to the first one that decides about the
    /// others.
    fn terms(&mut self, terms: &[Expr]) -> Vec<Node<'a>> {
        for term in terms {
            self.values(term);
            if self.variable.decides(term) {
                break;
            }
        }
        Vec::new()
    }

    fn walk(&mut self, found: &Loop) -> Vec<Node<'a>> {
        let range = self.values(&found.range);
        let (first, second) = match &found.second {
            Some(second) => (Vec::new(), Some((second.clone(), elements(&range)))),
            None => (items(&range), None),
        };
        let depth = self.locals.len();
        self.locals.push((found.variable.clone(), first));
        self.locals.extend(second);
        for part in found.condition.iter().chain(&found.body) {
            self.values(part);
        }
        self.locals.truncate(depth);
        if found.kind == LoopKind::Filter {
            range
        } else {
            Vec::new()
        }
    }
}

/// Returns the elements of lists; none if there are too many.
fn items<'a>(of: &[Node<'a>]) -> Vec<Node<'a>> {
    let lists = of.iter().filter_map(|node| match node.open() {
        Json::Array(list) => Some(list.elements()),
        _ => None,
    });
    bounded(lists.flatten())
}

/// Returns the elements of lists, and the values of objects; none if there are too many.
fn elements<'a>(of: &[Node<'a>]) -> Vec<Node<'a>> {
    let maps = of.iter().filter_map(|node| match node.open() {
        Json::Object(map) => Some(map.members().map(|(_, value)| value)),
        _ => None,
    });
    bounded(items(of).into_iter().chain(maps.flatten()))
}

fn bounded<'a>(values: impl Iterator<Item = Node<'a>>) -> Vec<Node<'a>> {
    let found: Vec<_> = values.take(MAX_VALUES + 1).collect();
    if found.len() > MAX_VALUES {
        return Vec::new();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    /// Returns what is wrong with the first of some expressions of one policy.
    fn missing(params: &str, expressions: &[&str]) -> Vec<String> {
        let document = Document::parse(params).expect("JSON");
        let mut variable = KnownVariable::new("params", document.root());
        for source in expressions {
            variable.note_tests(source);
        }
        let errors = variable.missing_keys(expressions[0]);
        errors.iter().map(|error| error.to_string()).collect()
    }

    const PARAMS: &str = r#"{"from": 1, "to": 9, "mode": "a", "rules": [{"port": 1}, {"name": "x"}],
        "limits": {"shop": {"max": 3}}}"#;

    #[test]
    fn keys_that_no_setting_gives_have_a_place_and_a_neighbour() {
        assert_eq!(
            missing(
                PARAMS,
                &["object.x.all(n, n >= params.from &&\n  n <= params.too)"]
            ),
            [
                "line 2, column 15: undefined field 'too': the setting params does not give it; \
                 did you mean 'to'? Where it may be missing, write .?too or test it with has()"
            ]
        );
        for expression in [
            "params.form > 1",
            "params['form'] > 1",
            "params.rules.exists(r, r.prt == 1)",
            "params.rules[0].prt == 1",
            "params.rules.filter(r, true).all(r, r.prt > 1)",
            "params.limits[object.metadata.namespace].mix > 1",
            "params.limits.all(k, v, v.mix > 1)",
            "params.from > 1 ? params.from : params.form",
            "[1].map(params, params).size() > params.form",
        ] {
            let count = missing(PARAMS, &[expression]).len();
            let expected = usize::from(expression != "params.from > 1 ? params.from : params.form");
            assert_eq!(count, expected, "{expression}");
        }
    }

    #[test]
    fn keys_that_may_be_missing_on_purpose_are_left_alone() {
        for expressions in [
            &["has(params.max) ? params.max : 5"][..],
            &["!has(params.max) || object.n < params.max"],
            &["object.n < params.max", "has(params.max)"],
            &["object.n < params.max", "'max' in params"],
            &["object.n < params.max", "params[?'max'].hasValue()"],
            &["params.?max.orValue(3) > 1"],
            &["params.?limits.ship.hasValue()"],
            &["params.?limits.optMap(l, l.?ship)"],
            &["params.rules.all(r, has(r.max) && r.max > 1)"],
            &["params.mode == 'b' ? params.listB : params.rules"],
            &["params.mode == 'b' && params.listB.size() > 1"],
            &["dyn(params).form"],
            &["[{'form': 1}].all(params, params.form > 0)"],
            &["params.from.form"],
        ] {
            assert_eq!(missing(PARAMS, expressions), Vec::<String>::new());
        }
        let many = format!(r#"{{"n": [{}{{}}]}}"#, r#"{"a": 1},"#.repeat(MAX_VALUES));
        let found = missing(&many, &["params.n.all(x, x.b > 1)"]);
        assert_eq!(found, Vec::<String>::new());
        for params in ["null", "[]", "5"] {
            let found = missing(params, &["params == null || params.max > 1"]);
            assert_eq!(found, Vec::<String>::new());
        }
    }
}
