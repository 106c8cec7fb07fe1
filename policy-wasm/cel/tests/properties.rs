//! Nothing panics and the budget bounds the work, for any expression and object.

use proptest::prelude::*;
use sallyport_cel::json::Document;
use sallyport_cel::{Budget, Environment, EvalError, Program, Type, Value, Variables, kubernetes};
use std::time::{Duration, Instant};

const SERVICE: &str = r#"{"apiVersion":"v1","kind":"Service",
    "metadata":{"name":"web","labels":{"app":"web"}},
    "spec":{"type":"NodePort","clusterIP":"10.0.0.1","externalIPs":["192.0.2.1","2001:db8::1"],
    "selector":{"app":"web"},"ports":[{"name":"http","port":80,"nodePort":30080,"targetPort":"web"},
    {"name":"https","port":443,"nodePort":30443,"targetPort":8443}]}}"#;

struct Review<'a>(&'a Document<'a>);

impl<'a> Variables<'a> for Review<'a> {
    fn global(&self, index: usize) -> Result<Value<'a>, EvalError> {
        Ok(match index {
            kubernetes::OBJECT => self.0.root().into(),
            _ => Value::Null,
        })
    }

    fn composed(&self, _: usize) -> Result<Value<'a>, EvalError> {
        Ok(Value::Null)
    }
}

fn compile(text: &str) -> Option<Program> {
    let environment: Environment = kubernetes::environment().with_patch_types();
    environment.compile(text, &[]).ok()
}

/// The longest time of an evaluation with 20,000 steps, without optimisation on a busy machine.
const MOST: Duration = Duration::from_secs(5);

fn evaluate(program: &Program) {
    let document = Document::parse(SERVICE).expect("JSON");
    let budget = Budget::new(20_000);
    let began = Instant::now();
    let value = program.evaluate(&Review(&document), &budget);
    assert!(began.elapsed() < MOST, "{:?}", began.elapsed());
    // All of it may be just enough.
    if budget.left() == 0 && value.is_ok() {
        let value = program.evaluate(&Review(&document), &Budget::new(19_999));
        assert!(value.is_err_and(|error| error.is_fatal()));
    }
}

/// Words of which expressions are made.
const WORDS: &[&str] = &[
    "object",
    "oldObject",
    "request",
    "namespaceObject",
    "params",
    "variables",
    "spec",
    "ports",
    "metadata",
    "labels",
    "name",
    "type",
    ".",
    ".",
    ".",
    ".?",
    "[",
    "]",
    "[?",
    "(",
    ")",
    "{",
    "}",
    ",",
    ",",
    ":",
    "?",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    "||",
    "in",
    "true",
    "false",
    "null",
    "0",
    "1",
    "-1",
    "5u",
    "1.5",
    "9223372036854775807",
    "''",
    "'a'",
    "'a.b'",
    "'%s'",
    "b'a'",
    "'10.0.0.0/8'",
    "'(a|b)*c'",
    "x",
    "y",
    "has",
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
    "transformList",
    "transformMap",
    "size",
    "contains",
    "matches",
    "find",
    "findAll",
    "split",
    "join",
    "replace",
    "substring",
    "format",
    "ip",
    "cidr",
    "url",
    "quantity",
    "semver",
    "timestamp",
    "duration",
    "string",
    "int",
    "dyn",
    "optional.of",
    "optional.none",
    "orValue",
    "value",
    "sort",
    "sortBy",
    "flatten",
    "distinct",
    "sum",
    "max",
    "slice",
    "lists.range",
    "sets.contains",
    "format.named",
    "JSONPatch",
    "Object",
    "op",
    "\n",
    "//",
    "'''",
    "\\",
    "`",
    "\u{1f600}",
];

fn words() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS), 0..40).prop_map(|words| words.join(""))
}

/// Expressions that parse, and many of which compile.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(
            &[
                "object",
                "object.spec",
                "object.spec.ports",
                "object.metadata.labels",
                "object.spec.type",
                "object.spec.externalIPs",
                "dyn(object).nope",
                "request",
                "params",
                "1",
                "0",
                "-1",
                "9223372036854775807",
                "2u",
                "1.5",
                "'abc'",
                "'10.0.0.0/8'",
                "'a,b'",
                "''",
                "b'a'",
                "true",
                "false",
                "null",
                "[]",
                "[1, 2, 3]",
                "['b', 'a']",
                "{}",
                "{'a': 1}",
                "timestamp(0)",
                "duration('1h')",
                "ip('::1')",
                "cidr('10.0.0.0/8')",
                "quantity('1Mi')",
                "optional.none()",
                "optional.of(1)",
                "x",
                "y",
                "lists.range(9)",
            ][..]
        )
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("double('{number}')")),
        "[a-z0-9./:%-]{0,12}".prop_map(|text| format!("'{text}'")),
    ];
    leaf.prop_recursive(6, 60, 4, |inner| {
        let operators = prop::sample::select(
            &[
                "+", "-", "*", "/", "%", "==", "!=", "<", "<=", "&&", "||", "in",
            ][..],
        );
        let members = prop::sample::select(
            &[
                "size()",
                "contains(#)",
                "startsWith(#)",
                "matches(#)",
                "find(#)",
                "findAll(#)",
                "split(#)",
                "join(#)",
                "replace(#, 'x')",
                "replace('', #)",
                "substring(#)",
                "format([#])",
                "charAt(#)",
                "indexOf(#)",
                "lastIndexOf(#)",
                "trim()",
                "lowerAscii()",
                "containsIP(#)",
                "masked()",
                "family()",
                "getHours()",
                "sort()",
                "sortBy(x, #)",
                "isSorted()",
                "sum()",
                "max()",
                "min()",
                "flatten()",
                "flatten(#)",
                "distinct()",
                "reverse()",
                "slice(#, 3)",
                "first()",
                "last()",
                "orValue(#)",
                "or(#)",
                "value()",
                "hasValue()",
                "unwrapOpt()",
                "optMap(x, #)",
                "all(x, #)",
                "exists(x, #)",
                "exists_one(x, #)",
                "map(x, #)",
                "map(x, #, #)",
                "filter(x, #)",
                "all(x, y, #)",
                "transformList(x, y, #)",
                "transformMap(x, y, #)",
                "transformMapEntry(x, y, {x: #})",
                "add(#)",
                "sub(#)",
                "isGreaterThan(#)",
                "getQuery()",
                "validate(#)",
                "a",
                "?a",
                "`a`",
                "spec",
                "type",
            ][..],
        );
        let calls = prop::sample::select(
            &[
                "size",
                "string",
                "int",
                "uint",
                "double",
                "bool",
                "bytes",
                "type",
                "dyn",
                "timestamp",
                "duration",
                "ip",
                "cidr",
                "isIP",
                "url",
                "quantity",
                "semver",
                "lists.range",
                "strings.quote",
                "optional.of",
                "optional.ofNonZeroValue",
                "optional.unwrap",
                "sign",
                "!",
                "-",
                "has",
            ][..],
        );
        prop_oneof![
            (inner.clone(), operators, inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            (inner.clone(), members, inner.clone())
                .prop_map(|(of, member, with)| format!("{of}.{}", member.replace('#', &with))),
            (calls, inner.clone()).prop_map(|(call, with)| format!("{call}({with})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(of, index)| format!("{of}[{index}]")),
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((inner.clone(), inner), 0..3).prop_map(|entries| {
                let entries = entries.iter().map(|(key, value)| format!("{key}: {value}"));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_compiles_or_not(text in ".{0,200}") {
        if let Some(program) = compile(&text) {
            evaluate(&program);
        }
    }

    #[test]
    fn any_words_compile_or_not(text in words()) {
        if let Some(program) = compile(&text) {
            evaluate(&program);
        }
    }

    #[test]
    fn what_compiles_ends_within_its_budget(text in expressions()) {
        if let Some(program) = compile(&text) {
            evaluate(&program);
        }
    }

    #[test]
    fn any_pattern_matches_or_not(
        pattern in "[a-c(|)*+?{},0-9\\[\\]^$.:\\\\A-Za-z-]{0,24}",
        text in "[a-c0-9\n]{0,60}",
    ) {
        let literal = |text: &str| format!("r'''{text}'''");
        let source = format!("{}.findAll({})", literal(&text), literal(&pattern));
        if let Some(program) = compile(&source) {
            evaluate(&program);
        }
    }

    #[test]
    fn any_json_parses_or_not(text in "[\\[\\]{}\",:0-9.eEa-z\\\\ -]{0,80}") {
        let document = Document::parse(&text);
        if let Ok(document) = document {
            let program = compile("dyn(object) == dyn(object)").expect("valid");
            let budget = Budget::new(20_000);
            prop_assert!(program.evaluate(&Review(&document), &budget).is_ok());
        }
    }
}

/// Inputs at the bounds.
#[test]
fn what_is_too_long_or_too_deep_is_refused() {
    let deep = [
        format!("{}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("{}1{}", "[".repeat(5000), "]".repeat(5000)),
        format!("{}true", "!".repeat(5000)),
        format!("{}1", "-".repeat(5000)),
        format!("1{}", " + 1".repeat(5000)),
        format!("true{}", " ? true : false".repeat(2000)),
        format!("object{}", ".spec".repeat(5000)),
        format!("object{}", "[0]".repeat(5000)),
        format!("{}1{}", "{1: ".repeat(5000), "}".repeat(5000)),
        format!("[{}]", "1, ".repeat(12_000)),
        "a".repeat(100_000),
        format!("'{}'", "a".repeat(100_000)),
        format!("'a'.matches('{}')", "(".repeat(10_000)),
        format!("'a'.matches('{}')", "(a{1000}){1000}"),
        format!("'a'.matches('a{}')", "*?".repeat(1000)),
    ];
    for text in deep {
        if let Some(program) = compile(&text) {
            evaluate(&program);
        }
    }
}

/// Expressions whose work or memory grows fast.
#[test]
fn what_grows_fast_ends_by_its_budget() {
    let nested = |depth: usize, body: &str| {
        (0..depth).fold(body.to_owned(), |body, level| {
            format!("lists.range(100).all(v{level}, {body})")
        })
    };
    let texts = [
        nested(6, "v0 + v1 >= 0"),
        "lists.range(1000000000).size() > 0".to_owned(),
        "lists.range(1000).map(a, lists.range(1000).map(b, 'x')).size() > 0".to_owned(),
        (0..12).fold("'xxxxxxxxxxxxxxxx'".to_owned(), |text, _| {
            format!("{text}.replace('x', 'xxxxxxxx')")
        }),
        "lists.range(3000).map(x, lists.range(3000)).flatten().sum() > 0".to_owned(),
        "lists.range(2000).map(x, 2000 - x).sort().sum() > 0 && \
         lists.range(2000).map(x, [x]).distinct().size() > 0"
            .to_owned(),
        "lists.range(4000).map(x, string(x)).join(',').matches('^([0-9]+,)*x$')".to_owned(),
        "lists.range(4000).map(x, string(x)).join(',').findAll('(([0-9]*)*)*').size() > 0"
            .to_owned(),
        "sets.contains(lists.range(4000), lists.range(4000))".to_owned(),
        "lists.range(4000).map(x, string(x)).join(',').split('').size() > 0".to_owned(),
    ];
    let document = Document::parse(SERVICE).expect("JSON");
    for text in texts {
        let environment = kubernetes::environment();
        let program = environment
            .compile(&text, &[])
            .unwrap_or_else(|errors| panic!("{text}: {}", errors[0]));
        assert!(
            matches!(program.output(), Type::Bool | Type::String),
            "{text}"
        );
        let budget = Budget::new(20_000);
        let error = program
            .evaluate(&Review(&document), &budget)
            .expect_err(&text);
        assert!(error.is_fatal(), "{text}: {error}");
        assert_eq!(budget.left(), 0, "{text}");
    }
}
