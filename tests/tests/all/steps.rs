//! A step of the component `expressions` takes about the same time, whatever the operation: so the
//! budget of steps bounds the time of an evaluation.
//!
//! Each expression uses up the whole budget with one operation; the time of that, divided by the
//! steps, is what a step of the operation takes. The host may be unoptimised, for the time is the
//! component's:
//! `cargo test --workspace --test all -- --ignored --nocapture a_step_takes`

use crate::host::{LONG_DEADLINE, VALIDATE, ask_within, body, built, load};
use sallyport_core::admission::Admission;
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::Exemptions;
use serde_json::{Value, json};
use std::time::Duration;

/// The budget of an evaluation, as `policies/expressions` has it.
const STEPS: u32 = 150_000;

/// Evaluations of each operation: the kernel counts a thread's time in ticks of 4 ms.
const RUNS: u32 = 50;

/// The number of times that each expression has its operation: the loop around it then adds little.
const REPEATED: usize = 8;

/// The time of a step that no operation may exceed, as a multiple of the one of [`FIELD`].
const MOST: f64 = 3.0;

/// The operation that a step is defined by: reading a field, and comparing it.
const FIELD: &str = "a field";

/// Operations with a true result. `i` is an element of a long list; `variables` are listed below.
const OPERATIONS: [(&str, &str); 102] = [
    ("a constant", "true"),
    ("==, numbers", "i == 0"),
    ("<, numbers", "i < 1"),
    ("+, numbers", "i + i >= 0"),
    ("/, numbers", "i / 7 >= 0"),
    ("!", "!(i > 0)"),
    ("?:", "(i == 0 ? true : false)"),
    ("a field", "params.one == 1"),
    ("a field that is far back", "params.keys.k0999 == 999"),
    ("a key of the parameters", "params.keys['k0999'] == 999"),
    (
        "a key that is long",
        "params.long_keys[params.long_key] == 1",
    ),
    ("a key of a map", "variables.map[50] == 50"),
    ("a key that is text", "variables.texts_map['k50'] == 50"),
    ("in, keys", "'k0999' in params.keys"),
    ("in, long keys", "params.long_key in params.long_keys"),
    ("has", "has(params.keys.k0999)"),
    ("an element", "params.ints[999] == 999"),
    ("an element of a list", "variables.ints[999] == 999"),
    ("an optional field", "params.?one.orValue(2) == 1"),
    ("optMap", "params.?one.optMap(x, x).value() == 1"),
    ("optional.of", "optional.of(i).hasValue()"),
    (
        "first, last",
        "variables.ints.first().value() < variables.ints.last().value()",
    ),
    ("a list", "[i, i, i, i].size() == 4"),
    ("a map", "{1: i, 2: i, 3: i, 4: i}.size() == 4"),
    ("size", "params.text.size() == 1000"),
    ("size, accents", "params.accents.size() == 500"),
    ("==, texts", "params.text == params.same"),
    ("<, texts", "params.text <= params.same"),
    ("==, lists", "params.ints == params.same_ints"),
    (
        "==, lists that were made",
        "variables.ints == variables.same_ints",
    ),
    (
        "==, lists of texts",
        "variables.texts == variables.same_texts",
    ),
    ("==, maps", "params.few_keys == params.few_keys"),
    (
        "==, maps of long keys",
        "params.long_keys == params.long_keys",
    ),
    ("==, maps that were made", "variables.map == variables.map"),
    ("in, numbers", "999 in params.ints"),
    ("in, numbers of a list", "999 in variables.ints"),
    ("in, texts", "!('x' in variables.texts)"),
    ("in, doubles", "!(0.5 in params.ints)"),
    (
        "sets.contains",
        "sets.contains(variables.hundred, variables.hundred)",
    ),
    (
        "sets.intersects",
        "!sets.intersects(variables.hundred, params.texts)",
    ),
    (
        "sets.equivalent",
        "sets.equivalent(variables.texts_hundred, variables.texts_hundred)",
    ),
    ("+, texts", "(params.text + params.same).size() == 2000"),
    ("+, short texts", "'a' + string(i) == 'a0'"),
    (
        "+, lists",
        "(variables.ints + variables.ints).size() == 2000",
    ),
    (
        "+, lists of the parameters",
        "(params.ints + params.ints).size() == 2000",
    ),
    ("lists.range", "lists.range(1000).size() == 1000"),
    ("all", "variables.hundred.all(n, n >= 0)"),
    (
        "exists, errors",
        "variables.hundred.exists(n, n / i == 1 || n == 99)",
    ),
    ("map", "variables.hundred.map(n, n).size() == 100"),
    ("filter", "variables.hundred.filter(n, true).size() == 100"),
    (
        "transformMap",
        "variables.hundred.transformMap(a, b, b).size() == 100",
    ),
    ("flatten", "variables.nested.flatten().size() == 1000"),
    ("sort, numbers", "variables.ints.sort().size() == 1000"),
    ("sort, texts", "variables.texts.sort().size() == 1000"),
    ("sort, long texts", "params.long_texts.sort().size() == 100"),
    ("sortBy", "variables.hundred.sortBy(n, -n).size() == 100"),
    ("distinct", "variables.hundred.distinct().size() == 100"),
    ("reverse", "variables.ints.reverse().size() == 1000"),
    ("slice", "variables.ints.slice(1, 2).size() == 1"),
    ("sum", "variables.ints.sum() > 0"),
    ("min", "variables.ints.min() == 0"),
    ("min, long texts", "params.long_texts.min().size() > 0"),
    ("isSorted, long texts", "params.sorted_texts.isSorted()"),
    ("indexOf, lists", "variables.ints.indexOf(999) == 999"),
    ("contains", "!params.text.contains('xxxxxxxxxxxxxxxy')"),
    ("indexOf", "params.text.indexOf('xxxxxxxxxxxxxxxy') == -1"),
    (
        "lastIndexOf",
        "params.text.lastIndexOf('yxxxxxxxxxxxxxxx') == -1",
    ),
    ("replace", "params.text.replace('x', 'y').size() == 1000"),
    ("split", "params.text.split('').size() == 1000"),
    ("join", "variables.texts.join(',').size() > 0"),
    (
        "substring",
        "params.accents.substring(400, 401).size() == 1",
    ),
    ("charAt", "params.accents.charAt(400) == 'é'"),
    ("lowerAscii", "params.text.lowerAscii().size() == 1000"),
    ("trim", "params.text.trim().size() == 1000"),
    ("quote", "strings.quote(params.text).size() == 1002"),
    (
        "format, texts",
        "'%s %s'.format([params.text, params.text]).size() == 2001",
    ),
    ("format, lists", "'%s'.format([variables.texts]).size() > 0"),
    ("format, maps", "'%s'.format([params.few_keys]).size() > 0"),
    (
        "format, numbers",
        "'%d %x %o %b'.format([i, i, i, i]).size() > 0",
    ),
    (
        "format, doubles",
        "'%.3f %e'.format([params.big, params.big]).size() > 0",
    ),
    ("matches", "params.text.matches('^x*$')"),
    ("matches, classes", r"params.text.matches('^[\\w.-]*$')"),
    ("matches, folded", "params.text.matches('(?i)^[a-zäöü]*$')"),
    (
        "matches, empty branches",
        "params.text.matches('(?:|||||||||||||||||||||||||||||||x)*')",
    ),
    ("matches, words", r"!params.text.matches('\\by\\b')"),
    ("find", "params.text.find('x+') == params.text"),
    ("findAll", "params.text.findAll('x').size() == 1000"),
    (
        "matches, a pattern that is made",
        "params.text.matches(params.pattern)",
    ),
    ("ip", "ip(params.ip).family() == 6"),
    ("isIP, none", "!isIP(params.text)"),
    (
        "cidr, containsIP",
        "cidr(params.cidr).containsIP(params.ip)",
    ),
    ("quantity", "isQuantity('1.5Gi' + params.none)"),
    ("quantity, long", "sign(quantity(params.quantity)) == 1"),
    (
        "quantity, binary",
        "sign(quantity(params.quantity + 'Ei')) == 1",
    ),
    (
        "quantities, order",
        "variables.quantity.compareTo(variables.quantity) == 0",
    ),
    (
        "quantities, sum",
        "sign(variables.quantity.add(variables.quantity)) == 1",
    ),
    (
        "semver",
        "semver(params.version).compareTo(variables.version) == 0",
    ),
    ("url", "url(params.url).getHost() == params.host"),
    ("getQuery", "variables.url.getQuery().size() == 500"),
    (
        "a named format",
        "format.dns1123Subdomain().validate(params.text).hasValue()",
    ),
    (
        "timestamps",
        "timestamp(params.time).getFullYear('+02:00') == 2024",
    ),
    (
        "numbers of texts",
        "int(string(i)) == 0 && double('1.5' + params.none) > 1.0",
    ),
];

fn variables() -> Value {
    let variables = [
        ("ints", "lists.range(1000)"),
        ("same_ints", "lists.range(1000)"),
        ("hundred", "lists.range(100)"),
        ("texts", "params.texts.map(t, t)"),
        ("same_texts", "params.texts.map(t, t)"),
        ("texts_hundred", "params.texts.slice(0, 100)"),
        ("nested", "lists.range(100).map(a, lists.range(10))"),
        ("map", "lists.range(100).transformMap(a, b, b)"),
        (
            "texts_map",
            "lists.range(100).transformMapEntry(a, b, {'k' + string(a): b})",
        ),
        ("quantity", "quantity(params.quantity)"),
        ("version", "semver(params.version)"),
        ("url", "url(params.url)"),
    ];
    variables
        .map(|(name, expression)| json!({"name": name, "expression": expression}))
        .to_vec()
        .into()
}

fn params() -> Value {
    let keys = |count: usize, key: &dyn Fn(usize) -> String| -> Value {
        let entries = (0..count).map(|index| (key(index), json!(index)));
        Value::Object(entries.collect())
    };
    let long_key = |index: usize| format!("{}{index:03}", "k".repeat(300));
    let mut long_keys = keys(199, &long_key);
    long_keys[long_key(199)] = json!(1);
    let query: Vec<_> = (0..500).map(|index| format!("k{index:03}=v")).collect();
    let host = "h".repeat(1000);
    let long = |index: usize| format!("{}{index:03}", "x".repeat(500));
    json!({
        "many": vec![0; 60_000],
        "one": 1,
        "big": 1.5e300,
        "none": "",
        "keys": keys(1000, &|index| format!("k{index:04}")),
        "few_keys": keys(30, &|index| format!("k{index:04}")),
        "long_keys": long_keys,
        "long_key": long_key(199),
        "ints": (0..1000).collect::<Vec<_>>(),
        "same_ints": (0..1000).collect::<Vec<_>>(),
        "texts": (0..1000).map(|index| format!("t{index:04}")).collect::<Vec<_>>(),
        "long_texts": (0..100).map(|index| long(index * 37 % 100)).collect::<Vec<_>>(),
        "sorted_texts": (0..100).map(long).collect::<Vec<_>>(),
        "text": "x".repeat(1000),
        "same": "x".repeat(1000),
        "accents": "é".repeat(500),
        "pattern": "^(x|xx|xxx)*$",
        "ip": "2001:db8::ffff:1",
        "cidr": "2001:db8::/32",
        "quantity": "3".repeat(600),
        "version": format!("1.2.3-{}", vec!["a"; 300].join(".")),
        "host": host,
        "url": format!("https://{host}/path?{}", query.join("&")),
        "time": "2024-02-29T12:00:00.5Z",
    })
}

/// Returns the policy with all operations. Each is for the Service with its index as the name.
fn admission() -> Admission {
    let validation = |(index, (_, operation)): (usize, &(&str, &str))| {
        let repeated = [*operation; REPEATED].join(" && ");
        let expression =
            format!("object.metadata.name != 'op{index}' || params.many.all(i, {repeated})");
        json!({"expression": expression})
    };
    let validations: Vec<_> = OPERATIONS.iter().enumerate().map(validation).collect();
    let spec = json!({
        "settings": {"params": params(), "variables": variables(), "validations": validations},
        "limits": {"deadline": "5s", "memory": "64Mi"},
    });
    let policy = load(&built("policies/expressions.wasm"), &spec).expect("it loads");
    Admission::new(vec![policy], Inventory::default(), Exemptions::default())
}

/// Returns the nanoseconds that a step of an operation takes.
fn time_of_step(admission: &Admission, index: usize) -> f64 {
    let service = json!({
        "metadata": {"name": format!("op{index}"), "namespace": "shop"},
        "spec": {"type": "ClusterIP", "ports": [{"port": 80}]},
    });
    let body = body("CREATE", &service, &Value::Null);
    let name = OPERATIONS[index].0;
    let began = time_on_processor();
    for _ in 0..RUNS {
        let outcome = ask_within(admission, VALIDATE, &body, LONG_DEADLINE);
        let denial = outcome.response.denial;
        let denial = denial.unwrap_or_else(|| panic!("{name} leaves a part of the budget"));
        let message = &denial.causes[0].message;
        assert!(
            message.contains("the expressions take too many steps"),
            "{name}: {message}"
        );
    }
    let took = time_on_processor() - began;
    took.as_secs_f64() * 1e9 / f64::from(STEPS * RUNS)
}

/// Returns the time that this thread, which runs the guests too, has had a processor (Linux).
fn time_on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

#[test]
#[ignore = "a benchmark: figures of one machine"]
fn a_step_takes_about_the_same_time_in_every_operation() {
    let admission = admission();
    let mut times: Vec<_> = (0..OPERATIONS.len())
        .map(|index| (time_of_step(&admission, index), OPERATIONS[index].0))
        .collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let field = times.iter().find(|(_, name)| *name == FIELD);
    let field = field.expect("it is among the operations").0;
    for (time, name) in &times {
        println!("{time:6.1} ns {:5.2}  {name}", time / field);
    }
    println!("median {:.1} ns", times[times.len() / 2].0);
    let dear: Vec<_> = times
        .iter()
        .filter(|(time, _)| *time > MOST * field)
        .map(|(_, name)| *name)
        .collect();
    assert_eq!(dear, [""; 0], "take too long for their steps");
}
