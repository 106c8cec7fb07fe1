//! Measures the cost of a review in process. Run by `make bench`; criterion keeps its reports in
//! target/criterion.
//!
//! Machines differ and are shared, so every figure stands beside another: a policy on a fresh
//! instance beside the same Rust function compiled natively and beside a reused instance, many
//! policies beside one, large Services beside small ones, and all of it beside a review without
//! policies. The tables at the end compare them; nothing is asserted. With the argument `profile`,
//! four policies are evaluated for ten seconds and nothing else is done, for a profiler.

mod circumstances;
#[path = "../examples.rs"]
mod examples;
mod reused;
mod table;

use anyhow::Result;
use criterion::{BatchSize, Criterion, Throughput};
use examples::{CLUSTER_IP, FOUR, NODE_PORT, body, component, manifest, names, with_annotations};
use reused::Reused;
use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Function};
use sallyport_core::contract::review::Phase;
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use sallyport_core::policy::Policy;
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The warm-up of each of some fifty figures.
const WARM_UP: Duration = Duration::from_millis(200);
const MEASURE: Duration = Duration::from_millis(800);
const SAMPLES: usize = 20;

/// The number of reviews for which an instance is reused: its heap only grows.
const USES: usize = 64;

fn main() -> Result<()> {
    let engine = Arc::new(Engine::new(&EngineConfig::default())?);
    if std::env::args().any(|argument| argument == "profile") {
        return profile(&engine);
    }
    let mut criterion = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURE)
        .sample_size(SAMPLES)
        .without_plots()
        .output_directory(&table::directory())
        .configure_from_args();
    each(&mut criterion, &engine)?;
    several(&mut criterion, &engine)?;
    growth(&mut criterion, &engine)?;
    criterion.final_summary();
    table::print()?;
    circumstances::print(&engine)
}

fn profile(engine: &Arc<Engine>) -> Result<()> {
    let (body, four) = (body(NODE_PORT)?, asking_all(of(engine, &FOUR)?));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        (0..1000).for_each(|_| _ = review(&four, &body));
    }
    Ok(())
}

fn policy(engine: &Arc<Engine>, name: &str) -> Result<Policy> {
    Ok(evaluator::load(
        engine,
        ServicePolicy::from_value(&manifest(name)?)?,
        &component(name)?,
    )?)
}

fn of(engine: &Arc<Engine>, names: &[impl AsRef<str>]) -> Result<Vec<Policy>> {
    names
        .iter()
        .map(|name| policy(engine, name.as_ref()))
        .collect()
}

fn admission(policies: Vec<Policy>) -> Admission {
    Admission::new(policies, Inventory::default(), Exemptions::default())
}

/// Returns an Admission that asks every policy, whatever its `about` is, as the harness does.
fn asking_all(policies: Vec<Policy>) -> Admission {
    admission(policies).thorough()
}

/// Reviews a body, from its bytes to those of the answer. Returns the number of policies asked.
fn review(admission: &Admission, body: &[u8]) -> usize {
    let request = AdmissionRequest::parse(body).expect("a captured body");
    let clock = Clock {
        now: SystemTime::now(),
        deadline: (Instant::now() + Duration::from_secs(10)).into(),
    };
    let outcome = admission.review(Function::Validate(Phase::Validating), &request, clock);
    let error = outcome
        .evaluations
        .iter()
        .find_map(|evaluation| evaluation.error.as_ref());
    assert!(error.is_none(), "{error:?}");
    black_box(outcome.response.to_json());
    outcome.evaluations.len()
}

/// Measures each policy alone on a fresh instance, and some of them also natively and on a reused
/// instance.
fn each(criterion: &mut Criterion, engine: &Arc<Engine>) -> Result<()> {
    let body = body(NODE_PORT)?;
    let mut group = criterion.benchmark_group("one");
    let none = admission(vec![]);
    group.bench_function("without", |bencher| bencher.iter(|| review(&none, &body)));
    for name in names()? {
        let one = asking_all(of(engine, &[&name])?);
        // One policy reviews writes to services/status alone.
        if review(&one, &body) > 0 {
            group.bench_function(format!("fresh {name}"), |bencher| {
                bencher.iter(|| review(&one, &body))
            });
        }
    }
    for name in FOUR {
        let native = native(name);
        group.bench_function(format!("native {name}"), |bencher| bencher.iter(&native));
        let reused = Reused::new(&component(name)?).map_err(anyhow::Error::msg)?;
        group.bench_function(format!("reused {name}"), |bencher| {
            bencher.iter_batched_ref(
                || reused.instance(),
                |instance| (0..USES).for_each(|_| instance.ask()),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
    Ok(())
}

/// Returns the same rule compiled natively, on a Service that is parsed already.
fn native(name: &str) -> Box<dyn Fn()> {
    match name {
        "service-type" => natively::<service_type::ServiceTypes>(),
        "nodeport-range" => natively::<nodeport_range::NodePortRange>(),
        "loadbalancer-cloud-only" => natively::<loadbalancer_cloud_only::LoadBalancerCloudOnly>(),
        _ => natively::<clusterip_internal::ClusterIpInternal>(),
    }
}

fn natively<P: sallyport_policy::Policy>() -> Box<dyn Fn()> {
    use sallyport_policy::testing::{create, node_port};
    let mut service = node_port("nodeport-explicit", 80, 30080);
    service.spec.selector = vec![("app".to_owned(), "a".to_owned())];
    let review = create(service);
    let policy = P::configure(P::defaults()).unwrap_or_else(|_| panic!("defaults are valid"));
    Box::new(move || {
        black_box(policy.validate(black_box(&review)));
    })
}

/// Measures several policies on a Service that concerns all of them, and the shipped ones on real
/// Services.
fn several(criterion: &mut Criterion, engine: &Arc<Engine>) -> Result<()> {
    let (node_port, cluster_ip) = (body(NODE_PORT)?, body(CLUSTER_IP)?);
    let mut group = criterion.benchmark_group("several");
    for count in [1, 4, 10, 50] {
        let policies = (0..count)
            .map(|i| policy(engine, FOUR[i % FOUR.len()]))
            .collect::<Result<Vec<_>>>()?;
        let many = asking_all(policies);
        group.bench_function(format!("asked {count}"), |bencher| {
            bencher.iter(|| review(&many, &node_port))
        });
    }
    let (four, all) = (of(engine, &FOUR)?, of(engine, &names()?)?);
    for (set, policies) in [("four", four), ("all", all)] {
        let admission = admission(policies);
        for (kind, body) in [("NodePort", &node_port), ("ClusterIP", &cluster_ip)] {
            group.bench_function(format!("shipped {set} {kind}"), |bencher| {
                bencher.iter(|| review(&admission, body))
            });
        }
    }
    group.finish();
    Ok(())
}

/// Measures all shipped policies on growing Services, to show a cost that grows faster than the
/// Service.
fn growth(criterion: &mut Criterion, engine: &Arc<Engine>) -> Result<()> {
    let (none, all) = (admission(vec![]), admission(of(engine, &names()?)?));
    let example: Value = serde_json::from_slice(&body(NODE_PORT)?)?;
    let mut group = criterion.benchmark_group("growth");
    let mut measure = |name: String, large: &Value| {
        let body = large.to_string().into_bytes();
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("without {name}"), |bencher| {
            bencher.iter(|| review(&none, &body))
        });
        group.bench_function(format!("with {name}"), |bencher| {
            bencher.iter(|| review(&all, &body))
        });
    };
    for ports in [1, 10, 100, 1_000, 5_000] {
        measure(
            format!("{ports} ports in range"),
            &with_ports(&example, 30_000, ports),
        );
    }
    for ports in [10, 100, 1_000, 5_000] {
        measure(
            format!("{ports} ports out of range"),
            &with_ports(&example, 20_000, ports),
        );
    }
    for annotations in [1, 4_096] {
        measure(
            format!("256 KiB in {annotations} annotations"),
            &with_annotations(&example, 256 << 10, annotations),
        );
    }
    group.finish();
    Ok(())
}

/// Returns the review with `count` ports, whose node ports start at `first`. managedFields name
/// each of them, as for any create.
fn with_ports(review: &Value, first: u32, count: u32) -> Value {
    let mut review = review.clone();
    let (mut ports, mut fields) = (vec![], serde_json::Map::new());
    for i in 0..count {
        // Each protocol may use a node port once.
        let (protocol, i) = (["TCP", "UDP", "SCTP"][(i % 3) as usize], i / 3);
        let port = 40_000 + i;
        ports.push(json!({
            "name": format!("p{port}-{}", protocol.to_lowercase()), "protocol": protocol,
            "port": port,
            "targetPort": port, "nodePort": first + i,
        }));
        let key = format!(r#"k:{{"port":{port},"protocol":"{protocol}"}}"#);
        fields.insert(
            key,
            json!({".": {}, "f:nodePort": {}, "f:port": {}, "f:protocol": {}}),
        );
    }
    review["request"]["object"]["spec"]["ports"] = ports.into();
    review["request"]["object"]["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"] =
        fields.into();
    review
}
