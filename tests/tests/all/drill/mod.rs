//! The drill: hostile clients of every known kind, one after another, against the program under the
//! memory limit of `deploy/`, while an ordinary client sends a review from time to time. The
//! ordinary client is answered in time, and at most half of the limit is used.
//!
//! `make drill` runs it alone. Where this process may create a control group for memory, the
//! program runs in one with that limit and is killed beyond it; else the test relies on the
//! program's own figures, and says so. Each attack is bounded in time and number, and stays on the
//! loopback interface. A new kind of attack is one more line in [`ATTACKS`].

mod attacks;

use crate::client::{Client, Protocol, probe};
use crate::expensive_components::{exceeding, slow};
use crate::host::command;
use crate::program::{Program, directory, manifest, put};
use attacks::{ATTACKS, Target, admin};
use hyper::StatusCode;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// `resources.limits.memory` of `deploy/base/deployment.yaml`, in KiB.
const DEPLOYED: u64 = 256 << 10;

/// `timeoutSeconds` of the validating webhook in `deploy/base/webhooks.yaml`.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// The duration of an attack, and the interval of the ordinary client.
const ATTACK: Duration = Duration::from_millis(1200);
const ASKS: u32 = 3;

/// The time after which compiling a component must have been given up, on a busy machine.
const GIVEN_UP: Duration = Duration::from_secs(150);

#[test]
fn hostile_clients_neither_starve_others_nor_exhaust_memory() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let host = Program::serve_within(policies.path(), &["--no-watch"], DEPLOYED << 10);
    let attackers = runtime(2);
    let target = Target {
        client: host.client.clone(),
        admin: host.admin,
    };
    let mut slow = vec![];
    for (name, attack) in ATTACKS {
        let attack = attackers.spawn(attack(target.clone()));
        let slowest = (0..ASKS).map(|_| {
            std::thread::sleep(ATTACK / ASKS);
            ask(&host.client)
        });
        let slowest = slowest
            .max_by_key(|(took, _)| *took)
            .expect("some were asked");
        attack.abort();
        let most = host.most_resident();
        eprintln!(
            "{name}: answered after {:?} at most; {most} KiB so far",
            slowest.0
        );
        if slowest.0 > WEBHOOK_TIMEOUT || slowest.1 != "200 OK" || most > DEPLOYED / 2 {
            slow.push(format!(
                "{name}: {} after {:?}; {most} KiB",
                slowest.1, slowest.0
            ));
        }
    }
    attackers.shutdown_background();
    assert!(slow.is_empty(), "{slow:#?}");
    let longest = host.log().lines().map(str::len).max();
    assert!(longest < Some(20 << 10), "a log line of {longest:?} bytes");
}

/// A hostile ServicePolicy: the reload compiles it in a child process, within the container's
/// memory limit.
#[test]
fn expensive_components_neither_starve_others_nor_exhaust_memory() {
    let directory = directory(&[("sound.yaml", manifest("sound", &json!({})))]);
    let watched = ["--watch-interval", "100ms", "--no-cache"];
    let host = Program::serve_within(directory.path(), &watched, DEPLOYED << 10);
    let status = runtime(1);
    let dear = exceeding()
        .into_iter()
        .map(|(bound, _, component)| (bound, component))
        .chain([("compiling it", slow())]);
    let mut wrong = vec![];
    for (number, (expected, component)) in dear.enumerate() {
        let file = format!("dear-{number}.wasm");
        std::fs::write(directory.path().join(&file), component).expect("written");
        let policy = manifest("dear", &json!({"module": {"file": file}}));
        put(directory.path(), "dear.yaml", &policy);
        let (began, mut slowest) = (Instant::now(), Duration::ZERO);
        loop {
            let (took, came) = ask(&host.client);
            slowest = slowest.max(took);
            if came != "200 OK" {
                wrong.push(format!("{expected}: {came}"));
                break;
            }
            let policies = status.block_on(host.status(|_| true));
            let error = policies["lastReload"]["error"].as_str().unwrap_or_default();
            if error.contains(&file) && error.contains(expected) {
                break;
            }
            if began.elapsed() > GIVEN_UP {
                wrong.push(format!("{expected}: not refused, but {error:?}"));
                break;
            }
            std::thread::sleep(ATTACK / ASKS);
        }
        let most = host.most_resident();
        eprintln!("{expected}: answered after {slowest:?} at most; {most} KiB so far");
        if slowest > WEBHOOK_TIMEOUT || most > DEPLOYED / 2 {
            wrong.push(format!(
                "{expected}: answered after {slowest:?}; {most} KiB"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn runtime(threads: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Sends an ordinary review on a new connection. Returns its duration and the answer.
fn ask(client: &Client) -> (Duration, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let began = Instant::now();
    let client = client.clone();
    let asked = runtime.block_on(async {
        // A failed connection panics its task.
        let post = tokio::spawn(async move {
            client
                .post(Protocol::Http1, "/validate?timeout=3s", command("nothing"))
                .await
        });
        tokio::time::timeout(WEBHOOK_TIMEOUT * 2, post).await
    });
    let came = match asked {
        Ok(Ok(reply)) if reply.status == StatusCode::OK => "200 OK".to_owned(),
        Ok(Ok(reply)) => format!("{}: {}", reply.status, reply.text()),
        Ok(Err(error)) => format!("no answer: {error}"),
        Err(_) => "no answer in time".to_owned(),
    };
    (began.elapsed(), came)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_during_an_attack_on_the_admin_port() {
    let policies = directory(&[("p.yaml", manifest("p", &json!({})))]);
    let host = Program::serve(policies.path(), &["--no-watch"]);
    let attack = tokio::spawn(admin(Target {
        client: host.client.clone(),
        admin: host.admin,
    }));
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..3 {
        let answer = tokio::time::timeout(WEBHOOK_TIMEOUT, probe(host.admin, "/livez")).await;
        assert!(answer.is_ok_and(|answer| answer.ends_with("ok\n")));
    }
    attack.abort();
    assert!(host.most_resident() < DEPLOYED / 2);
}
