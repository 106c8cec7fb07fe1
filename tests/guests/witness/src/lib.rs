//! A policy that repeats what it was asked: each part of the review that its settings name becomes
//! a violation, whose message is the part in Rust's notation.
//!
//! It asks for all operations and for the whole context (unless its `params` say `no context`), so
//! that tests see each part of the contract arrive. A Service with the annotation `test/keep` can't
//! be deleted.

use sallyport_policy::prelude::*;
use std::fmt::Debug;

policy!(Witness, "policy.wit");

/// The parts that are repeated.
pub struct Witness(Settings);

impl Policy for Witness {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .mutating()
            .with_deletions()
            .with_status_writes()
            .with_namespace_annotations()
            .with_cluster()
            .with_pods()
            .with_raw_objects()
            .compares_annotations(["test/*"])
            .compares_namespace_annotations(["test/*"])
            .compares_user_extra(["test/*"])
    }

    fn describe_configured(&self) -> Description {
        if self.0.params == r#""no context""# {
            Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        } else {
            Self::describe()
        }
    }

    fn defaults() -> Settings {
        Settings {
            shows: vec![],
            params: r#"{"from": [1, 2.5, null], "to": "here"}"#.to_owned(),
            named: vec![],
            maybe: None,
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        if settings.params == r#""refuse""# {
            return Err(vec![SettingsError::new(
                "params",
                "refused, as it was told",
            )]);
        }
        Ok(Self(settings))
    }

    fn validate(&self, review: &Review) -> Verdict {
        let kept = review.service.annotation("test/keep").is_some();
        if review.operation == Operation::Delete && kept {
            let violation = Violation::new("T02", "metadata.annotations", "the Service is kept");
            return Verdict::deny(violation.fix("take off the annotation test/keep"));
        }
        let shows = self.0.shows.iter();
        shows
            .map(|part| shown(part, &self.show(part, review)))
            .collect()
    }

    fn mutate(&self, review: &Review) -> Mutation {
        let mut patch = Patch::new(&review.service);
        if review.service.annotation("test/patch").is_some() {
            let object = review.object.as_deref().unwrap_or_default();
            let label = if object.contains(r#""test/patched":"true""#) {
                "test/patched-again"
            } else {
                "test/patched"
            };
            patch.set_label(label, "true");
        }
        patch.finish()
    }
}

fn shown(part: &str, text: &str) -> Violation {
    Violation::new("T01", part, text).key(text)
}

impl Witness {
    fn show(&self, part: &str, review: &Review) -> String {
        let (metadata, spec) = (&review.service.metadata, &review.service.spec);
        match part {
            "params" => self.0.params.clone(),
            "named" => debug(&self.0.named),
            "maybe" => debug(&self.0.maybe),
            "operation" => debug(&review.operation),
            "user" => debug(&review.user),
            "namespace" => debug(&review.namespace),
            "object" => review.object.clone().unwrap_or_default(),
            "old-object" => review.old_object.clone().unwrap_or_default(),
            "old-service" => debug(&review.old_service.as_ref().map(|old| &old.metadata.name)),
            "uid" => debug(&metadata.uid),
            "generation" => debug(&metadata.generation),
            "creation-timestamp" => debug(&metadata.creation_timestamp),
            "finalizers" => debug(&metadata.finalizers),
            "owner-references" => debug(&metadata.owner_references),
            "cluster-ips" => debug(&spec.cluster_ips),
            "ip-families" => debug(&spec.ip_families),
            "ip-family-policy" => debug(&spec.ip_family_policy),
            "internal-traffic-policy" => debug(&spec.internal_traffic_policy),
            "session-affinity" => debug(&spec.session_affinity),
            "session-affinity-config" => debug(&spec.session_affinity_config),
            "traffic-distribution" => debug(&spec.traffic_distribution),
            "status" => debug(&review.service.status),
            _ => "unknown".to_owned(),
        }
    }
}

fn debug(part: &impl Debug) -> String {
    format!("{part:?}")
}
