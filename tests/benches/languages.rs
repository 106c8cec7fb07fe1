//! Measures the same policies in each language that `sallyport new` knows: the component's size,
//! the time to compile and configure it, and the microseconds of one evaluation on a fresh
//! instance, as a ratio to Rust's. Run by `make bench`; `scripts/twins.sh` builds the components.
//!
//! Machines differ, so the ratio is the figure to quote. Prints one table for each policy; nothing
//! is asserted.

use anyhow::{Context as _, Result, bail, ensure};
use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Function};
use sallyport_core::contract::review::Phase;
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Rust first: the others are compared with it.
const LANGUAGES: [&str; 5] = ["rust", "c", "javascript", "typescript", "python"];
const POLICIES: [&str; 2] = ["service-type", "owner-label"];

/// The reviews of one figure, and the time after which there are enough.
const REVIEWS: usize = 20_000;
const TIME: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let engine = Arc::new(Engine::new(&EngineConfig::default())?);
    for policy in POLICIES {
        println!(
            "\n{policy:<16}{:>12}{:>12}{:>14}{:>10}{:>14}",
            "size, KB", "load, ms", "median, us", "ratio", "p99, us"
        );
        let mut rust = None;
        for language in LANGUAGES {
            let file = file(language, policy, "wasm");
            if !file.exists() {
                println!("{language:<16}not built; run `scripts/twins.sh {language}`");
                continue;
            }
            let measured = Measured::of(&engine, language, policy)?;
            let base = *rust.get_or_insert(measured.median);
            measured.print(language, base);
        }
    }
    Ok(())
}

fn file(language: &str, policy: &str, kind: &str) -> PathBuf {
    let name = match kind {
        "wasm" => policy.replace('-', "_"),
        _ => policy.to_owned(),
    };
    root().join(format!("target/twins/{language}/{name}.{kind}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The figures of one component.
struct Measured {
    bytes: usize,
    load: Duration,
    /// Microseconds.
    median: f64,
    p99: f64,
}

impl Measured {
    fn of(engine: &Arc<Engine>, language: &str, policy: &str) -> Result<Self> {
        let component = std::fs::read(file(language, policy, "wasm"))?;
        let text = std::fs::read_to_string(file(language, policy, "yaml"))?;
        let documents = sallyport_core::yaml::documents(&text)?;
        let [manifest] = documents.as_slice() else {
            bail!("{policy}.yaml: expected one manifest")
        };
        let began = Instant::now();
        let loaded = evaluator::load(engine, ServicePolicy::from_value(manifest)?, &component)?;
        let load = began.elapsed();
        let admission =
            Admission::new(vec![loaded], Inventory::default(), Exemptions::default()).thorough();
        let mut took = evaluations(&admission)?;
        took.sort_by(f64::total_cmp);
        Ok(Self {
            bytes: component.len(),
            load,
            median: took[took.len() / 2],
            p99: took[took.len() * 99 / 100],
        })
    }

    fn print(&self, language: &str, base: f64) {
        println!(
            "{language:<16}{:>12.0}{:>12.0}{:>14.1}{:>10.1}{:>14.1}",
            self.bytes as f64 / 1e3,
            self.load.as_secs_f64() * 1e3,
            self.median,
            self.median / base,
            self.p99
        );
    }
}

/// Returns the microseconds of each evaluation, of a create of a NodePort Service.
fn evaluations(admission: &Admission) -> Result<Vec<f64>> {
    let file = "tests/admission-reviews/018-validate-CREATE-services-nodeport-explicit.json";
    let body = std::fs::read(root().join(file)).context(file)?;
    let request = AdmissionRequest::parse(&body)?;
    let mut took = vec![];
    let began = Instant::now();
    while took.len() < REVIEWS && began.elapsed() < TIME {
        let clock = Clock {
            now: SystemTime::now(),
            deadline: (Instant::now() + Duration::from_secs(10)).into(),
        };
        let asked = Instant::now();
        let function = Function::Validate(Phase::Validating);
        let outcome = black_box(admission.review(function, &request, clock));
        took.push(asked.elapsed().as_secs_f64() * 1e6);
        let [evaluation] = outcome.evaluations.as_slice() else {
            bail!("one policy is asked")
        };
        ensure!(evaluation.error.is_none(), "{:?}", evaluation.error);
    }
    Ok(took)
}
