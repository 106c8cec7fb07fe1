//! Measures the serving program: start, throughput, latency, memory, and a reload under load. Run
//! by `make bench`.
//!
//! The program is a process of its own (this one, started again with command line arguments), and
//! so is the load generator, which stops after a fixed time. Client and server share the machine.
//! Machines differ and are shared, so every figure stands beside a baseline of the same run, rounds
//! are interleaved, and medians are printed; nothing is asserted. Arguments after `--` choose
//! parts.

mod collector;
#[path = "../examples.rs"]
mod examples;
mod generator;
mod program;

use anyhow::Result;
use clap::Parser as _;
use examples::{CLUSTER_IP, FOUR, NODE_PORT, body, names, with_annotations};
use generator::{Load, Order};
use program::{Cache, Program, Set};
use sallyport::cli::Cli;
use std::process::ExitCode;
use std::time::Duration;

/// The number of measurements of each figure.
const ROUNDS: usize = 3;

/// The number of concurrent calls: that of a busy API server.
const CONCURRENCY: usize = 16;

const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.first().map(String::as_str) {
        Some("sallyport") => return Ok(Cli::parse_from(&arguments).run()),
        Some("load") => generator::run(&arguments[1])?,
        _ => measure(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A part, and the argument that chooses it.
type Part = (&'static str, fn() -> Result<()>);

/// Measures the chosen parts, or all of them.
fn measure(chosen: &[String]) -> Result<()> {
    const PARTS: [Part; 10] = [
        ("start", start),
        ("throughput", throughput),
        ("decisions", decisions),
        ("telemetry", telemetry),
        ("connections", connections),
        ("payloads", payloads),
        ("half", half_of_the_most),
        ("memory", memory),
        ("reload", reload),
        ("neighbours", neighbours),
    ];
    println!("medians of {ROUNDS} rounds; client and server share the machine\n");
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    PARTS
        .iter()
        .filter(|(name, _)| wanted(name))
        .try_for_each(|(_, part)| part())
}

/// Measures the time from the start of the process to the first accepted request.
fn start() -> Result<()> {
    let ten: Vec<_> = names()?.into_iter().take(10).collect();
    let set = Set::of(&ten)?;
    let mut cold = vec![];
    let mut warm = vec![];
    for _ in 0..ROUNDS {
        let cache = Cache::new()?;
        cold.push(Program::start(&set, &cache)?.took);
        warm.push(Program::start(&set, &cache)?.took);
    }
    let median = |times: Vec<Duration>| {
        generator::median(times.iter().map(|time| time.as_secs_f64() * 1e3).collect())
    };
    println!(
        "ready with 10 policies: {:.0} ms cold, {:.0} ms with a warm cache\n",
        median(cold),
        median(warm)
    );
    Ok(())
}

/// The hosts whose throughput is compared: without policies, with the first four, with all of them.
struct Hosts {
    none: Program,
    four: Program,
    all: Program,
}

impl Hosts {
    fn start() -> Result<Self> {
        let cache = Cache::new()?;
        Ok(Self {
            none: Program::start(&Set::none()?, &cache)?,
            four: Program::start(&Set::of(&FOUR)?, &cache)?,
            all: Program::start(&Set::of(&names()?)?, &cache)?,
        })
    }
}

fn throughput() -> Result<()> {
    let hosts = Hosts::start()?;
    println!(
        "{:<34}{:>10}{:>8}{:>26}{:>14}",
        format!("{CONCURRENCY} calls at a time"),
        "1/s",
        "ratio",
        "p50, p99, p99.9 us",
        "server, us"
    );
    for protocol in PROTOCOLS {
        for (kind, example) in [("NodePort", NODE_PORT), ("ClusterIP", CLUSTER_IP)] {
            let order = Order {
                protocol,
                clients: CONCURRENCY,
                body: body(example)?,
                rate: None,
            };
            let rows = [
                ("no policy", &hosts.none),
                ("four policies", &hosts.four),
                ("all eleven", &hosts.all),
            ];
            let loads = rounds(&rows.map(|(_, host)| host), &order)?;
            let bare = loads[0].rate;
            for ((name, _), load) in rows.iter().zip(&loads) {
                let what = format!("{protocol}, {kind}, {name}");
                println!(
                    "{what:<34}{:>10.0}{:>8.2}{:>26}{:>14.0}",
                    load.rate,
                    load.rate / bare,
                    load.latency(),
                    load.processor
                );
            }
        }
    }
    println!();
    hosts.none.never_asked("service-type")
}

/// Sends the same load to each host in turn.
fn rounds(hosts: &[&Program], order: &Order) -> Result<Vec<Load>> {
    let mut loads: Vec<Vec<Load>> = hosts.iter().map(|_| vec![]).collect();
    for _ in 0..ROUNDS {
        for (host, loads) in hosts.iter().zip(&mut loads) {
            loads.push(host.load(order)?);
        }
    }
    Ok(loads.into_iter().map(Load::median).collect())
}

/// Measures the cost of a decision log: of a Service that is allowed, and of one that is denied.
fn decisions() -> Result<()> {
    let (set, cache) = (Set::of(&FOUR)?, Cache::new()?);
    let files = tempfile::tempdir()?;
    let log = files.path().join("decisions.log");
    let without = Program::start(&set, &cache)?;
    let with = Program::with(&set, &cache, &["--decision-log".as_ref(), log.as_os_str()])?;
    println!(
        "{:<34}{:>12}{:>12}{:>8}{:>20}",
        "four policies", "without, 1/s", "with, 1/s", "ratio", "server, us"
    );
    for protocol in PROTOCOLS {
        for (name, port) in [("allowed", 30080), ("denied", 29999)] {
            let mut review: serde_json::Value = serde_json::from_slice(&body(NODE_PORT)?)?;
            review["request"]["object"]["spec"]["ports"][0]["nodePort"] = port.into();
            let order = Order {
                protocol,
                clients: CONCURRENCY,
                body: review.to_string().into_bytes(),
                rate: None,
            };
            let loads = rounds(&[&without, &with], &order)?;
            let (bare, logged) = (&loads[0], &loads[1]);
            println!(
                "{:<34}{:>12.0}{:>12.0}{:>8.2}{:>20}",
                format!("{protocol}, {name}"),
                bare.rate,
                logged.rate,
                logged.rate / bare.rate,
                format!("{:.0}, {:.0}", bare.processor, logged.processor)
            );
        }
    }
    println!();
    Ok(())
}

/// Measures the cost of OpenTelemetry: without an endpoint, with one and no review that is sampled,
/// and with a span for each review.
fn telemetry() -> Result<()> {
    let (set, cache) = (Set::of(&FOUR)?, Cache::new()?);
    let url = collector::start()?;
    let endpoint = ["--otlp-endpoint".as_ref(), url.as_ref()];
    let sampling = ["--otlp-sampler".as_ref(), "always_on".as_ref()];
    let without = Program::start(&set, &cache)?;
    let unsampled = Program::with(&set, &cache, &endpoint)?;
    let sampled = Program::with(&set, &cache, &[endpoint, sampling].concat())?;
    println!(
        "{:<34}{:>12}{:>20}{:>20}{:>20}",
        "four policies", "absent, 1/s", "unsampled, ratio", "sampled, ratio", "server, us"
    );
    for protocol in PROTOCOLS {
        let order = Order {
            protocol,
            clients: CONCURRENCY,
            body: body(NODE_PORT)?,
            rate: None,
        };
        let loads = rounds(&[&without, &unsampled, &sampled], &order)?;
        let bare = loads[0].rate;
        let processor: Vec<_> = loads
            .iter()
            .map(|load| format!("{:.0}", load.processor))
            .collect();
        println!(
            "{protocol:<34}{bare:>12.0}{:>20.2}{:>20.2}{:>20}",
            loads[1].rate / bare,
            loads[2].rate / bare,
            processor.join(", ")
        );
    }
    println!();
    Ok(())
}

fn connections() -> Result<()> {
    let hosts = Hosts::start()?;
    println!(
        "{:<34}{:>12}{:>12}{:>8}{:>30}",
        "http/1.1 connections", "none, 1/s", "four, 1/s", "ratio", "p50, p99, p99.9 us of four"
    );
    for clients in [1, 4, 16, 64, 256] {
        let order = Order {
            protocol: "http/1.1",
            clients,
            body: body(NODE_PORT)?,
            rate: None,
        };
        let loads = rounds(&[&hosts.none, &hosts.four], &order)?;
        let (none, four) = (&loads[0], &loads[1]);
        println!(
            "{clients:<34}{:>12.0}{:>12.0}{:>8.2}{:>30}",
            none.rate,
            four.rate,
            four.rate / none.rate,
            four.latency()
        );
    }
    println!();
    Ok(())
}

fn payloads() -> Result<()> {
    let hosts = Hosts::start()?;
    println!(
        "{:<34}{:>12}{:>12}{:>8}{:>30}",
        "h2, bytes of a request", "none, 1/s", "all, 1/s", "ratio", "p50, p99, p99.9 us of all"
    );
    let example = serde_json::from_slice(&body(NODE_PORT)?)?;
    for kibibytes in [0, 10, 100, 250] {
        let body = with_annotations(&example, kibibytes << 10, 1.max(kibibytes / 4))
            .to_string()
            .into_bytes();
        let bytes = body.len();
        let loads = rounds(
            &[&hosts.none, &hosts.all],
            &Order {
                protocol: "h2",
                clients: CONCURRENCY,
                body,
                rate: None,
            },
        )?;
        let (none, all) = (&loads[0], &loads[1]);
        println!(
            "{bytes:<34}{:>12.0}{:>12.0}{:>8.2}{:>30}",
            none.rate,
            all.rate,
            all.rate / none.rate,
            all.latency()
        );
    }
    println!();
    Ok(())
}

/// Measures latency without a queue: each client sends at fixed times, and latency counts from
/// these.
fn half_of_the_most() -> Result<()> {
    let host = Program::start(&Set::of(&FOUR)?, &Cache::new()?)?;
    for protocol in PROTOCOLS {
        let full = Order {
            protocol,
            clients: CONCURRENCY,
            body: body(NODE_PORT)?,
            rate: None,
        };
        let most = rounds(&[&host], &full)?.remove(0).rate;
        let before = host.admissions()?;
        let half = rounds(
            &[&host],
            &Order {
                rate: Some(most / 2.0),
                ..full
            },
        )?
        .remove(0);
        let served = host.admissions()?.since(&before);
        println!(
            "{protocol}, four policies, at half of the most ({:.0}/s): p50, p99, p99.9 {} us; \
             within the server under {}",
            half.rate,
            half.latency(),
            [0.5, 0.99, 0.999]
                .map(|share| served.bound(share))
                .join(", "),
        );
    }
    println!();
    Ok(())
}

fn memory() -> Result<()> {
    println!(
        "{:<34}{:>14}{:>14}",
        "resident, KiB", "started", "after load"
    );
    let ten: Vec<_> = names()?.into_iter().take(10).collect();
    for (name, set) in [
        ("no policy is asked", Set::none()?),
        ("10 policies", Set::of(&ten)?),
    ] {
        let cache = Cache::new()?;
        // A first start fills the cache, so that compilation is not counted as the server's.
        drop(Program::start(&set, &cache)?);
        let host = Program::start(&set, &cache)?;
        let started = host.resident()?;
        for protocol in PROTOCOLS {
            host.load(&Order {
                protocol,
                clients: CONCURRENCY,
                body: body(NODE_PORT)?,
                rate: None,
            })?;
        }
        println!("{name:<34}{started:>14}{:>14}", host.resident()?);
    }
    println!();
    Ok(())
}

/// Measures full load while the manifests of all policies keep changing.
fn reload() -> Result<()> {
    // The cache stays: the figure is the swap of changed settings, and not the compiler beside the
    // requests.
    let (set, cache) = (Set::of(&FOUR)?, Cache::new()?);
    let host = Program::start(&set, &cache)?;
    for protocol in PROTOCOLS {
        let order = Order {
            protocol,
            clients: CONCURRENCY,
            body: body(NODE_PORT)?,
            rate: None,
        };
        let quiet = host.load(&order)?;
        let before = host.generation()?;
        let load = std::thread::scope(|scope| {
            let changing = scope.spawn(|| set.change(Duration::from_millis(250), generator::TIME));
            let load = host.load(&order);
            changing.join().expect("it does not panic")?;
            load
        })?;
        println!(
            "{protocol}: {} reloads under load, {} failed requests of {:.0}; p50, p99, p99.9 {} \
             us, without a reload {} us",
            host.generation()? - before,
            load.failed,
            load.rate * generator::TIME.as_secs_f64(),
            load.latency(),
            quiet.latency()
        );
    }
    println!();
    Ok(())
}

/// Measures a host's latency beside ten clients that make a policy loop, and beside ten that don't.
fn neighbours() -> Result<()> {
    let host = Program::start(&Set::with_looping(&FOUR)?, &Cache::new()?)?;
    let order = Order {
        protocol: "http/1.1",
        clients: CONCURRENCY,
        body: body(NODE_PORT)?,
        rate: None,
    };
    println!(
        "{:<44}{:>12}{:>26}",
        "four policies over http/1.1, beside", "1/s", "p50, p99, p99.9 us"
    );
    for (name, word) in [
        ("nobody", None),
        ("ten clients of a fifth policy", Some("nothing")),
        ("ten that make it loop", Some("loop")),
    ] {
        let mut loads = vec![];
        for _ in 0..ROUNDS {
            let noise = word.map(|word| host.noise(word)).transpose()?;
            loads.push(host.load(&order)?);
            if word.is_none() {
                host.never_asked("looping")?;
            }
            noise.map(|mut noise| noise.wait()).transpose()?;
        }
        let load = Load::median(loads);
        println!("{name:<44}{:>12.0}{:>26}", load.rate, load.latency());
    }
    Ok(())
}
