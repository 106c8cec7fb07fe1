//! Write a Sallyport policy: typed Services in, a verdict out, one small WebAssembly component.
//!
//! A policy is typed settings and a pure function. It implements [`Policy`], and [`policy!`] makes
//! a component of it. The host parses the Service, checks the settings against their WIT type,
//! calls [`Policy::configure`] once and takes a snapshot; every review then runs on a fresh,
//! already configured instance.
//!
//! A complete policy without settings (one with settings names its world file: `policy!(MyPolicy,
//! "policy.wit")`, and gets the type `Settings` from it; `sallyport new` creates such a crate):
//!
//! ```
//! use sallyport_policy::prelude::*;
//!
//! policy!(NoExternalIps);
//!
//! /// No Service may take traffic for addresses that the cluster does not manage.
//! struct NoExternalIps;
//!
//! impl Policy for NoExternalIps {
//!     type Settings = ();
//!
//!     fn describe() -> Description {
//!         Description::new("no-external-ips", "1.0.0")
//!     }
//!
//!     fn defaults() {}
//!
//!     fn configure((): ()) -> Result<Self, Vec<SettingsError>> {
//!         Ok(Self)
//!     }
//!
//!     fn validate(&self, review: &Review) -> Verdict {
//!         let addresses = review.service.spec.external_ips.iter().enumerate();
//!         addresses
//!             .map(|(i, ip)| {
//!                 let field = format!("spec.externalIPs[{i}]");
//!                 Violation::new("X01", field, format!("{} is not allowed", quote(ip)))
//!                     .key(format!("externalIP:{ip}"))
//!                     .fix("remove it")
//!             })
//!             .collect()
//!     }
//! }
//!
//! # fn main() {
//! // Policies are tested like any Rust code, without WebAssembly:
//! use sallyport_policy::testing::*;
//! let mut service = cluster_ip("web");
//! service.spec.external_ips = vec!["8.8.8.8".into()];
//! let verdict = NoExternalIps.validate(&create(service));
//! assert_eq!(verdict.violations[0].field, "spec.externalIPs[0]");
//! # }
//! ```

mod describe;
pub mod dns;
mod exposure;
pub mod glob;
#[cfg(any(test, target_family = "wasm"))]
mod heap;
pub mod log;
pub mod names;
pub mod net;
pub mod pairs;
mod patch;
mod provider_id;
mod subjects;
pub mod testing;
mod text;
mod violations;
mod widening;

#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "base",
        generate_unused_types: true,
        additional_derives: [PartialEq],
        additional_type_attributes: {
            "sallyport:policy/service@0.2.0/service": [#[derive(Default)]],
            "sallyport:policy/service@0.2.0/metadata": [#[derive(Default)]],
            "sallyport:policy/service@0.2.0/spec": [#[derive(Default)]],
            "sallyport:policy/service@0.2.0/status": [#[derive(Default)]],
            "sallyport:policy/service@0.2.0/ingress": [#[derive(Default)]],
            "sallyport:policy/verdict@0.2.0/verdict": [#[derive(Default)]],
        },
    });
}

pub use bindings::sallyport::policy::{description, review, service, verdict};
pub use description::{About, Description};
pub use exposure::{NodePortInUse, UsedAs};
pub use patch::{Mutation, Patch, SpecField};
pub use review::Review;
pub use sallyport_policy_macros::policy;
pub use subjects::Subjects;
pub use text::quote;
pub use verdict::{SettingsError, Verdict, Violation};
pub use violations::MAX_VIOLATIONS;
pub use widening::Widening;
#[doc(hidden)]
pub use wit_bindgen;

/// The items that a policy usually needs.
pub mod prelude {
    pub use crate::review::{Operation, Phase, Resource};
    pub use crate::service::{Service, ServiceType};
    pub use crate::{
        About, Description, Mutation, NodePortInUse, Patch, Policy, Review, SettingsError,
        SpecField, Subjects, UsedAs, Verdict, Violation, Widening, log, names, pairs, policy,
        quote,
    };
}

/// A policy: the implementing type holds checked settings, in whatever form makes `validate` quick.
pub trait Policy: Sized + Send + Sync + 'static {
    /// The record `settings` of the policy's world, or `()`.
    type Settings;

    /// Describes the policy, and the requests that it is asked about.
    fn describe() -> Description;

    /// Describes the configured policy. Where settings make the policy narrower, it can return less
    /// here than [`Policy::describe`]: fewer Services ([`Description::about`]), fewer phases, less
    /// context.
    fn describe_configured(&self) -> Description {
        Self::describe()
    }

    /// Returns the settings that the manifest's are laid over.
    fn defaults() -> Self::Settings;

    /// Checks settings. Runs once, before the first review, so that work done here costs nothing
    /// later.
    ///
    /// # Errors
    ///
    /// All settings that can't be used, each with its path in the manifest.
    fn configure(settings: Self::Settings) -> Result<Self, Vec<SettingsError>>;

    /// Judges the object.
    fn validate(&self, review: &Review) -> Verdict;

    /// Patches the object. Called in the mutating phase, if the description includes it
    /// ([`Description::mutating`]).
    fn mutate(&self, _review: &Review) -> Mutation {
        Mutation::default()
    }
}
