//! The form of a row of `controllers`: a controller that makes load balancers, and the annotations
//! by which it makes them internal.

use super::classes::Class;
use super::reads::Reads;

/// One annotation that makes a load balancer internal.
#[derive(Debug, Clone, Copy)]
pub struct Switch {
    /// The annotation.
    pub key: &'static str,
    /// The parser of its value.
    pub reads: Reads,
    /// The value to write. None: it can't be chosen without knowing the network.
    pub set: Option<&'static str>,
    /// The source, with remarks.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

/// The order in which a controller reads several switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// All that are present must agree.
    All,
    /// The first that is present, in the order of the table: the others are not read beside it. One
    /// that is not read and says otherwise is a contradiction all the same: an earlier version
    /// reads it alone.
    First,
}

/// The load balancer that a controller makes where no switch is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// A public load balancer.
    Public,
    /// A setting of the controller decides, or an existing load balancer, which no Service shows.
    Unknown,
    /// An internal one, whatever the controller's settings.
    Internal,
}

/// A controller's treatment of `loadBalancerSourceRanges`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforces {
    /// They are enforced. A family of addresses without a range of its own is closed.
    Yes,
    /// They are enforced for each IP family by itself. One without a range of its own is open.
    EachFamily,
    /// Settings or the kind of load balancer decide, which no Service shows; or nobody has looked
    /// it up.
    Depends,
    /// They are not enforced.
    No,
    /// They are enforced where one of these annotations has one of these values, in any case.
    Where(&'static [(&'static str, &'static [&'static str])]),
}

/// Another kind of load balancer that the same controller can make.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// The request for it.
    pub when: When,
    /// The annotations that are read instead.
    pub switches: &'static [Switch],
    /// As [`Controller::contradicting`].
    pub contradicting: &'static [Switch],
    /// Its treatment of source ranges.
    pub enforces: Enforces,
}

/// A request for another kind of load balancer.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// This annotation with this value, in any case.
    Annotation(&'static str, &'static str),
    /// This class.
    Class(&'static str),
}

/// A controller that makes load balancers of Services.
#[derive(Debug, Clone, Copy)]
pub struct Controller {
    /// The name in settings.
    pub name: &'static str,
    /// The beginning of the providerID of the Nodes where it runs; empty where that tells nothing.
    pub infrastructure: &'static str,
    /// The classes that it serves.
    pub classes: &'static [Class],
    /// The annotations that it reads. None: it makes public load balancers only.
    pub switches: &'static [Switch],
    /// The order in which it reads them.
    pub precedence: Precedence,
    /// Annotations that it does not read, but another controller of the same cloud does, or it
    /// itself for another kind of load balancer: one that says otherwise is a contradiction.
    pub contradicting: &'static [Switch],
    /// The load balancer without any of them.
    pub default: Default,
    /// Another kind of load balancer, for which it reads other annotations.
    pub variant: Option<Variant>,
    /// Its treatment of source ranges.
    pub enforces: Enforces,
    /// The annotations that it reads in place of `spec.loadBalancerSourceRanges`: comma-separated
    /// blocks.
    pub ranges: &'static [&'static str],
    /// Its name in full.
    #[cfg(not(target_family = "wasm"))]
    pub title: &'static str,
}

/// The common annotation for source ranges.
pub const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// By these values of its annotation, the AWS Load Balancer Controller takes a Service without a
/// class from the cloud provider (aws-load-balancer-controller `pkg/service/service_utils.go`).
pub(super) const AWS_TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
