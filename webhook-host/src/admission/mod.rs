//! From an AdmissionRequest to an AdmissionResponse: the one evaluation path of webhook, harness and check.
//!
//! Pure: no clock, no environment, no file, no network. The caller says when the request arrived and when it must be
//! answered.

mod outcome;
mod request;

pub use outcome::{AdmissionResponse, Cause, Denial, Evaluation, Outcome};
pub use request::{AdmissionRequest, GroupVersionKind, Operation, ReviewError, UserInfo};

use crate::contract::review::Phase;
use crate::inventory::Inventory;
use crate::manifest::Exemptions;
use crate::policy::Policy;
use std::time::{Instant, SystemTime};

/// What policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `mutate`, in the mutating phase: patches, never denies.
    Mutate,
    /// `validate`. The API server asks it in the validating phase; a suite may ask it of an object of the mutating phase.
    Validate(Phase),
}

/// Why no policy is asked about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exemption {
    /// Neither CREATE nor UPDATE.
    Operation,
    /// Not a core/v1 Service, or a sub-resource other than `status`.
    Kind,
    /// `default/kubernetes`, written by the API server itself.
    ApiServer,
    /// A Service that waits for its finalizers and gains nothing.
    Terminating,
    /// The namespace is exempt by configuration.
    Namespace,
}

/// When a request arrived and when it must be answered.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Policies see it in seconds.
    pub now: SystemTime,
    /// Policies that are not reached by then count as evaluation errors.
    pub deadline: Instant,
}

/// Everything that decides: policies, inventory, exemptions.
#[derive(Debug)]
pub struct Admission {
    policies: Vec<Policy>,
    inventory: Inventory,
    exemptions: Exemptions,
}

impl Admission {
    /// Policies are asked in the order of their names.
    pub fn new(mut policies: Vec<Policy>, inventory: Inventory, exemptions: Exemptions) -> Self {
        policies.sort_by(|a, b| a.name().cmp(b.name()));
        Self { policies, inventory, exemptions }
    }

    /// All policies, in the order in which they are asked.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Reviews one request.
    pub fn review(&self, function: Function, request: &AdmissionRequest<'_>, clock: Clock) -> Outcome {
        let _ = (&self.inventory, &self.exemptions, function, request, clock);
        unimplemented!("being written")
    }
}
