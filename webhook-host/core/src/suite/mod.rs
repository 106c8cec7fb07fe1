//! Test suites for policies: YAML files that say what a policy must answer to which request.
//!
//! Model ([`Suite`], [`Case`], [`Expect`]), runner ([`Runner`]) and bless ([`Blessing`]) know
//! nothing of each other's internals. A case becomes the bytes of an AdmissionReview
//! ([`Case::review_body`]) and takes the webhook's own path from there, so that what a suite proves
//! holds in the cluster. A suite can't pass vacuously: an outcome that it does not list is a
//! failure, and so is an expectation about a policy that was never asked. The caller brings files
//! and components.

mod asked;
mod bless;
mod context;
mod expect;
mod files;
mod model;
mod places;
mod references;
mod run;

pub use asked::{Asked, User};
pub use bless::{BlessError, Blessing};
pub use expect::{Expect, TextPattern, ViolationPattern};
pub use files::{build_command, holds_suite, parse};
pub use model::{Case, Setup, Source, Suite};
pub use references::{Files, SuiteError};
pub use run::{CaseReport, Finding, Load, Runner, SuiteReport, TestReport};
