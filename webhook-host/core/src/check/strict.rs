//! Refusals by the API server itself, whatever the policies say: unknown fields, for which `kubectl
//! apply` is strict, and values that its own validation rejects.
//!
//! [`findings`] reports only what every supported version of Kubernetes refuses, and nothing about
//! a Service that does not decode: `admission` reports that (rule S16). `rejection` is the whole
//! answer to one request.

mod rejection;

pub use rejection::{Problem, Rejection};
pub(super) use rejection::{invalid, undecoded};

use crate::api_server::{self, Refusal, Refusals, defaults};
use crate::decode;
use crate::report::check::{Finding, Level};
use crate::yaml::Located;
use k8s_openapi::api::core::v1::Service;

/// The author of these findings, in place of a policy's name.
const API_SERVER: &str = "kubernetes";

/// Returns what the API server refuses in a Service that is about to be created.
pub(super) fn findings(located: &Located) -> Vec<Finding> {
    let mut value = located.value();
    let unknown = api_server::unknown(&value);
    defaults::apply(&mut value);
    let mut refusals = Refusals::default();
    if let Ok(service) = decode::from_value::<Service>(&value) {
        refusals.service(&service);
    }
    let all = unknown.into_iter().chain(refusals.into_inner());
    all.map(|refusal| finding(refusal, located)).collect()
}

fn finding(refusal: Refusal, located: &Located) -> Finding {
    Finding {
        policy: API_SERVER.to_owned(),
        line: located.line_of(&refusal.field),
        field: refusal.field,
        message: format!("the API server would refuse this: {}", refusal.problem),
        fix: refusal.fix,
        ..Finding::empty(Level::Error)
    }
}
