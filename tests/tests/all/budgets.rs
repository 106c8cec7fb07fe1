//! The budget of the component `expressions` ends an evaluation before the deadline does, also
//! beside busy threads. Either one denies, but the budget gives the same answer on every machine.
//! The size of the component has a budget, too.
//!
//! A hundred thousand runs take ten minutes on a machine that does nothing else:
//! `cargo test --release --workspace --test all -- --ignored --nocapture budgets`. `RUNS=1000` in
//! the environment makes them fewer.

use crate::host::{LONG_DEADLINE, VALIDATE, ask_within, body, built, load};
use sallyport_core::admission::Admission;
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::Exemptions;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Runs of all expressions together.
const RUNS: usize = 100_000;

/// Ways to use up a budget: steps, lists, texts, a pattern, comparisons.
const EXPRESSIONS: [&str; 5] = [
    "lists.range(1000).all(a, lists.range(1000).all(b, a + b >= 0))",
    "lists.range(10000).map(a, lists.range(10000)).flatten().sum() > 0",
    "lists.range(20000).map(a, 'xxxxxxxx'.replace('', 'xxxxxxxx')).join(',').split('').size() > 0",
    "lists.range(20000).map(a, 'a').join().matches('^(a|aa|aaa|aaaa)*b$')",
    "sets.contains(lists.range(10000), lists.range(10000))",
];

/// Bytes of the component. Each replica keeps its code in memory, and each registry its file.
const MAX_SIZE: usize = 600_000;

#[test]
fn the_component_of_expressions_stays_small() {
    let size = built("policies/expressions.wasm").len();
    assert!(size < MAX_SIZE, "{size} bytes");
}

fn admission(expression: &str) -> Admission {
    let spec = json!({
        "settings": {"validations": [{"expression": expression}]},
        "limits": {"deadline": "50ms", "memory": "16Mi"},
    });
    let policy = load(&built("policies/expressions.wasm"), &spec).expect("it loads");
    Admission::new(vec![policy], Inventory::default(), Exemptions::default())
}

/// Calls a function while each processor has a thread that only counts.
fn beside_busy_threads<T>(call: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let processors = std::thread::available_parallelism().expect("known").get();
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = call();
        over.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
#[ignore = "takes minutes on a machine that does nothing else"]
fn expressions_end_by_their_budget_beside_busy_threads() {
    let runs = std::env::var("RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"));
    let service = json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"type": "ClusterIP", "ports": [{"port": 80}]},
    });
    let body = body("CREATE", &service, &Value::Null);
    let mut misses = vec![];
    for expression in EXPRESSIONS {
        let admission = admission(expression);
        let mut times: Vec<Duration> = beside_busy_threads(|| {
            let run = |_| {
                let began = Instant::now();
                let outcome = ask_within(&admission, VALIDATE, &body, LONG_DEADLINE);
                let took = began.elapsed();
                let denial = outcome.response.denial.expect("the budget is used up");
                let message = &denial.causes[0].message;
                if !message.contains("the expressions take too many steps") {
                    misses.push(format!("after {took:?}: {message}"));
                }
                took
            };
            (0..runs / EXPRESSIONS.len()).map(run).collect()
        });
        times.sort_unstable();
        let (half, last) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{:>6} runs, median {half:?}, longest {last:?}: {expression}",
            times.len()
        );
    }
    println!("{} misses", misses.len());
    assert!(
        misses.is_empty(),
        "{}",
        misses[..misses.len().min(10)].join("\n")
    );
}
