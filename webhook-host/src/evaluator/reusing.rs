//! An evaluator that asks one instance again and again, which no host does: state may leak from one
//! review into the next. `bench` measures it beside the evaluator of the host.

use super::{Instances, classify};
use crate::engine::State;
use sallyport_core::contract::verdict::Verdict;
use sallyport_core::manifest::Limits;
use sallyport_core::policy::{Answer, Evaluate, EvaluationError, Question};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wasmtime::Store;
use wasmtime::component::Instance;

/// The questions to one instance. The heap of a component may only grow, so that an instance would
/// reach its memory limit some time.
const QUESTIONS: usize = 64;

pub(super) struct Reusing {
    instances: Instances,
    limits: Limits,
    used: Mutex<Option<Used>>,
}

/// An instance that was asked before.
struct Used {
    store: Store<State>,
    instance: Instance,
    left: usize,
}

impl Reusing {
    pub(super) fn new(instances: Instances, limits: Limits) -> Self {
        Self {
            instances,
            limits,
            used: Mutex::new(None),
        }
    }

    fn start(&self, question: &Question<'_>) -> Result<Used, EvaluationError> {
        let Instances { engine, budget, .. } = &self.instances;
        let mut store = engine.store(question.policy, *budget);
        match self.instances.instantiate(&mut store, *budget) {
            Ok(instance) => Ok(Used {
                store,
                instance,
                left: QUESTIONS,
            }),
            Err(error) => Err(classify(&error, &store, self.limits, budget.time)),
        }
    }

    /// Asks an instance, and returns it for further questions if it answered.
    fn ask(&self, mut used: Used, question: &Question<'_>) -> (Answer, Option<Used>) {
        let Instances { engine, budget, .. } = &self.instances;
        engine.renew(&mut used.store, *budget);
        let began = Instant::now();
        let verdict = self
            .instances
            .ask(&mut used.store, &used.instance, question);
        let elapsed = began.elapsed();
        let verdict =
            verdict.map_err(|error| classify(&error, &used.store, self.limits, budget.time));
        used.left -= 1;
        let kept = verdict.is_ok() && used.left > 0;
        (answer(verdict, elapsed), kept.then_some(used))
    }
}

impl Evaluate for Reusing {
    /// Measures the call alone, without making the instance. The log goes to the process.
    fn evaluate(&self, question: &Question<'_>) -> Answer {
        let mut slot = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = slot.take()
            && let (answer @ Answer { verdict: Ok(_), .. }, used) = self.ask(used, question)
        {
            *slot = used;
            return answer;
        }
        // An instance that was asked before may have failed because of that.
        match self.start(question) {
            Err(error) => answer(Err(error), Duration::ZERO),
            Ok(used) => {
                let (answer, used) = self.ask(used, question);
                *slot = used;
                answer
            }
        }
    }
}

fn answer(verdict: Result<Verdict, EvaluationError>, elapsed: Duration) -> Answer {
    Answer {
        verdict,
        elapsed,
        log: vec![],
    }
}
