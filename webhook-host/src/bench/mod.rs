//! `sallyport bench`: what one policy costs.
//!
//! Requests go through [`Admission`], as in a cluster; the time of a figure is that of the policy's
//! evaluation alone. Each pass measures all figures one after the other, so that a disturbance
//! affects only one pass of a figure, and a figure is the median of its passes' medians. Each pass
//! also measures a computation that never changes, which shows how noisy the machine is.

mod faults;
mod request;
mod samples;

pub use samples::{Figure, Noise};

use crate::engine::{Engine, EngineConfig, SlowCompilation};
use crate::evaluator;
use anyhow::{Context as _, Result, anyhow, bail};
use request::Asking;
use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Function, Outcome};
use sallyport_core::contract::description::Description;
use sallyport_core::contract::review::Phase;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::{Exemptions, ServicePolicy};
use sallyport_core::policy::{Deadline, Policy};
use samples::{PASSES, Passes, Reference};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The sizes at which growth is measured. With 1,000 annotations a Service is near the most that an
/// API server stores.
const SIZES: [usize; 4] = [1, 10, 100, 1000];

/// The deadline of an evaluation. It is long, because evaluations run one at a time and the
/// policy's own limits hold.
const MAX_EVALUATION: Duration = Duration::from_secs(30);

/// Evaluations in which page faults are counted, after a tenth as many without counting.
const FAULTING: u32 = 200;

/// The policy to measure, and the circumstances.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its manifest. Match, exemptions and mode are left out of account.
    pub manifest: ServicePolicy,
    /// Its component.
    pub component: &'a [u8],
    /// The facts that it may know.
    pub inventory: InventoryData,
    /// The Service that it is asked about; by default one of each type.
    pub service: Option<Value>,
    /// The time for each figure.
    pub time: Duration,
    /// Says that compiling it takes long.
    pub slow: SlowCompilation,
}

/// The cost of a policy.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// The name by its own description.
    pub policy: String,
    /// The version by its own description.
    pub version: String,
    /// The bytes of its component.
    pub size: usize,
    /// The time to load it without a cache: compiling, configuring, and the snapshot.
    pub load: Figure,
    /// The reason for which it is configured for every review; `None`: once, when it is loaded.
    pub configured_per_instance: Option<String>,
    /// The memory that an evaluation touches; `None` where the system does not tell.
    pub touched: Option<Touched>,
    /// The time of evaluations.
    pub evaluations: Vec<Evaluation>,
    /// The time of evaluations as Services grow.
    pub growth: Vec<Growth>,
    /// The steadiness of the machine.
    pub noise: Noise,
}

/// The memory that one evaluation on a fresh instance touches.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Touched {
    /// Page faults: one for each page that is written, and for up to sixteen that are only read.
    pub pages: u64,
    /// The bytes of these pages.
    pub bytes: u64,
}

/// One question and its cost.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// `validate` or `mutate`.
    pub function: &'static str,
    /// The Service, such as its type.
    pub service: String,
    /// The verdict in a word: `allowed`, `denied`, `patched`, `unchanged`.
    pub verdict: &'static str,
    /// On a fresh instance, as in a cluster.
    pub fresh: Figure,
    /// On an instance that was asked before.
    pub live: Figure,
}

/// The cost of `validate` on a fresh instance, by the number of something in the Service.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Growth {
    /// `ports` or `annotations`.
    pub of: &'static str,
    /// In the order of the number.
    pub points: Vec<Point>,
}

/// One size, and the cost at it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// The number of ports or annotations.
    pub count: usize,
    /// The cost; `None` where the policy has no verdict.
    pub fresh: Option<Figure>,
    /// The kind of the evaluation error, where there is one.
    pub error: Option<String>,
}

/// Measures a policy. Calls `progress` with the number of finished steps and of all.
///
/// # Errors
///
/// When it can't be loaded, or has no verdict on the Services that it is asked about.
pub fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(usize, usize)) -> Result<Cost> {
    let load = load_times(subject)?;
    let engine = subject.engine(&EngineConfig::default())?;
    let fresh = subject.policy(&engine, evaluator::load)?;
    let description = fresh.description().cloned().context("it is loaded")?;
    let bench = Bench {
        fresh: subject.admission(fresh),
        live: subject.admission(subject.policy(&engine, evaluator::load_reusing)?),
        time: subject.time / PASSES,
    };
    let mut questions = questions(subject, &description)?;
    let mut growing = growing(&description);
    let mut reference = Reference::default();
    let all = PASSES as usize * (questions.len() + growing.len());
    let mut done = 0;
    for _ in 0..PASSES {
        for question in &mut questions {
            reference.pass();
            question.measure(&bench)?;
            done += 1;
            progress(done, all);
        }
        for size in &mut growing {
            size.measure(&bench);
            done += 1;
            progress(done, all);
        }
    }
    let first = questions.first().context("a policy reviews something")?;
    let touched = touched(subject, &first.asking)?;
    let policy = &bench.fresh.policies()[0];
    let evaluations: Vec<_> = questions.into_iter().map(Question::into_cost).collect();
    let growth: Vec<_> = ["ports", "annotations"]
        .into_iter()
        .filter_map(|of| Growth::of(of, &growing))
        .collect();
    let points = growth.iter().flat_map(|growth| &growth.points);
    let figures = points
        .filter_map(|point| point.fresh)
        .chain(evaluations.iter().map(|evaluation| evaluation.fresh))
        .chain(evaluations.iter().map(|evaluation| evaluation.live));
    Ok(Cost {
        policy: description.name,
        version: description.version,
        size: subject.component.len(),
        load,
        configured_per_instance: policy.configured_per_instance().map(str::to_owned),
        touched,
        noise: reference.noise(figures),
        evaluations,
        growth,
    })
}

impl Growth {
    /// Returns the measured sizes of one kind, if there are some.
    fn of(of: &'static str, sizes: &[Size]) -> Option<Self> {
        let sizes = sizes.iter().filter(|size| size.of == of);
        let points: Vec<_> = sizes.map(Size::point).collect();
        (!points.is_empty()).then_some(Self { of, points })
    }
}

/// Measures the time to load the policy. Each pass has an engine without a cache.
fn load_times(subject: &Subject<'_>) -> Result<Figure> {
    let mut times = Passes::default();
    for _ in 0..PASSES {
        let engine = subject.engine(&EngineConfig::default())?;
        let began = Instant::now();
        subject.policy(&engine, evaluator::load)?;
        times.add(vec![began.elapsed()]);
    }
    Ok(times.figure())
}

/// Counts the page faults of an evaluation. No memory stays mapped between evaluations, so that
/// every page that one touches is a fault.
fn touched(subject: &Subject<'_>, asking: &Asking) -> Result<Option<Touched>> {
    let engine = subject.engine(&EngineConfig {
        resident: 0,
        ..EngineConfig::default()
    })?;
    let admission = subject.admission(subject.policy(&engine, evaluator::load)?);
    let request = asking.request()?;
    let run = |times: u32| -> Result<()> {
        (0..times).try_for_each(|_| {
            review(&admission, asking.function, &request)
                .map(drop)
                .map_err(|error| anyhow!(error))
        })
    };
    run(FAULTING / 10)?;
    let Some(before) = faults::of_this_thread() else {
        return Ok(None);
    };
    run(FAULTING)?;
    let faults = faults::of_this_thread().map(|after| after.saturating_sub(before));
    let touched = faults.zip(faults::page_size()).map(|(faults, page)| {
        let pages = faults / u64::from(FAULTING);
        Touched {
            pages,
            bytes: pages * page,
        }
    });
    Ok(touched)
}

impl Subject<'_> {
    fn engine(&self, config: &EngineConfig) -> Result<Arc<Engine>> {
        let config = EngineConfig {
            concurrency: 1,
            slow: self.slow,
            ..config.clone()
        };
        Ok(Arc::new(Engine::new(&config)?))
    }

    fn policy(
        &self,
        engine: &Arc<Engine>,
        load: impl Fn(
            &Arc<Engine>,
            ServicePolicy,
            &[u8],
        ) -> Result<Policy, sallyport_core::policy::LoadError>,
    ) -> Result<Policy> {
        Ok(load(engine, self.manifest.clone(), self.component)?)
    }

    /// Asks the policy about every Service, whatever its `about` is.
    fn admission(&self, policy: Policy) -> Admission {
        let inventory = Inventory::from(self.inventory.clone());
        let nobody = Exemptions {
            namespaces: vec![],
            ..Exemptions::default()
        };
        Admission::new(vec![policy], inventory, nobody).thorough()
    }
}

/// The policy on fresh instances and on a live one, and the time for one pass of a figure.
struct Bench {
    fresh: Admission,
    live: Admission,
    time: Duration,
}

/// Reviews one request. Returns the outcome of a policy with a verdict, or else its error.
fn review(
    admission: &Admission,
    function: Function,
    request: &AdmissionRequest<'_>,
) -> Result<Outcome, String> {
    let clock = Clock {
        now: SystemTime::now(),
        deadline: Deadline::Each(MAX_EVALUATION),
    };
    let outcome = admission.review(function, request, clock);
    match outcome.evaluations.as_slice() {
        [] => Err("the policy was not asked".to_owned()),
        [evaluation, ..] => match &evaluation.error {
            Some(error) => Err(error.to_string()),
            None => Ok(outcome),
        },
    }
}

/// One question with the passes that were measured.
struct Question {
    name: String,
    asking: Asking,
    verdict: &'static str,
    fresh: Passes,
    live: Passes,
}

/// Returns the questions that the policy's description asks for, about each Service.
fn questions(subject: &Subject<'_>, description: &Description) -> Result<Vec<Question>> {
    let services = match &subject.service {
        Some(service) => vec![("the Service of --object".to_owned(), service.clone())],
        None => request::services(),
    };
    let functions = [
        (Phase::Validating, Function::Validate(Phase::Validating)),
        (Phase::Mutating, Function::Mutate),
    ];
    let mut questions = vec![];
    for (_, function) in functions
        .into_iter()
        .filter(|(phase, _)| description.phases.contains(phase))
    {
        for (name, service) in &services {
            questions.push(Question {
                name: name.clone(),
                asking: Asking::new(function, service, description),
                verdict: "",
                fresh: Passes::default(),
                live: Passes::default(),
            });
        }
    }
    if questions.is_empty() {
        bail!("the policy asks for no phase, so that it is never asked");
    }
    Ok(questions)
}

impl Question {
    fn measure(&mut self, bench: &Bench) -> Result<()> {
        let request = self.asking.request()?;
        let function = self.asking.function;
        let mut verdict = "";
        let of = |admission: &Admission, verdict: &mut &'static str| {
            samples::of(bench.time, || {
                let outcome = review(admission, function, &request)?;
                *verdict = word(function, &outcome);
                Ok(outcome.evaluations[0].elapsed)
            })
            .map_err(|error: String| anyhow!("{} has no verdict: {error}", self.name))
        };
        let fresh = of(&bench.fresh, &mut verdict)?;
        let live = of(&bench.live, &mut verdict)?;
        self.fresh.add(fresh);
        self.live.add(live);
        self.verdict = verdict;
        Ok(())
    }

    fn into_cost(self) -> Evaluation {
        Evaluation {
            function: match self.asking.function {
                Function::Mutate => "mutate",
                Function::Validate(_) => "validate",
            },
            service: self.name,
            verdict: self.verdict,
            fresh: self.fresh.figure(),
            live: self.live.figure(),
        }
    }
}

fn word(function: Function, outcome: &Outcome) -> &'static str {
    let evaluation = &outcome.evaluations[0];
    match function {
        Function::Mutate if evaluation.patch.is_empty() => "unchanged",
        Function::Mutate => "patched",
        Function::Validate(_) if evaluation.violations.is_empty() => "allowed",
        Function::Validate(_) => "denied",
    }
}

/// One size of a Service with the passes that were measured.
struct Size {
    of: &'static str,
    count: usize,
    asking: Asking,
    fresh: Passes,
    error: Option<String>,
}

fn growing(description: &Description) -> Vec<Size> {
    if !description.phases.contains(&Phase::Validating) {
        return vec![];
    }
    let size = |of, count, service: Value| Size {
        of,
        count,
        asking: Asking::new(Function::Validate(Phase::Validating), &service, description),
        fresh: Passes::default(),
        error: None,
    };
    let ports = SIZES.map(|count| size("ports", count, request::with_ports(count)));
    let annotations =
        SIZES.map(|count| size("annotations", count, request::with_annotations(count)));
    ports.into_iter().chain(annotations).collect()
}

impl Size {
    fn measure(&mut self, bench: &Bench) {
        let measured = self.asking.request().map_err(|error| error.to_string());
        let measured = measured.and_then(|request| {
            samples::of(bench.time, || {
                let outcome = review(&bench.fresh, self.asking.function, &request)?;
                Ok(outcome.evaluations[0].elapsed)
            })
        });
        bench.fresh.policies()[0].forget_misses();
        match measured {
            Ok(samples) => self.fresh.add(samples),
            Err(error) => self.error = Some(error),
        }
    }

    fn point(&self) -> Point {
        Point {
            count: self.count,
            fresh: self.error.is_none().then(|| self.fresh.figure()),
            error: self.error.clone(),
        }
    }
}
