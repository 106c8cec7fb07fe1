//! A Service carries a label with the owner of its namespace (X02), which is short (X03).
//!
//! `tests/twins` has the same policy in each language that `sallyport new` knows. It uses what a
//! policy can: settings of several types, context, a patch, a warning, an audit annotation and a
//! log line.

use sallyport_policy::prelude::*;

policy!(OwnerLabel, "policy.wit");

/// The settings, checked.
pub struct OwnerLabel(Settings);

impl Policy for OwnerLabel {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .mutating()
            .with_namespace()
    }

    fn describe_configured(&self) -> Description {
        Self::describe()
            .compares_labels([&self.0.label])
            .compares_namespace_labels([&self.0.label])
    }

    fn defaults() -> Settings {
        use ServiceType::{ClusterIp, ExternalName, LoadBalancer, NodePort};
        Settings {
            label: "owner".into(),
            types: vec![ClusterIp, NodePort, LoadBalancer, ExternalName],
            owners: vec![],
            max_length: None,
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        if settings.label.is_empty() {
            let problem = "empty; name the key of a label, such as owner";
            errors.push(SettingsError::new("label", problem));
        }
        if settings.types.is_empty() {
            let problem = "an empty list leaves no Service to judge; name at least one type";
            errors.push(SettingsError::new("types", problem));
        }
        for (namespace, _) in settings.owners.iter().filter(|(_, owner)| owner.is_empty()) {
            let path = format!("owners[{}]", quote(namespace));
            errors.push(SettingsError::new(path, "empty; name an owner"));
        }
        if settings.max_length == Some(0) {
            let problem = "0 allows no owner; leave it out, or use at least 1";
            errors.push(SettingsError::new("maxLength", problem));
        }
        if errors.is_empty() {
            Ok(Self(settings))
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        if !self.concerns(&review.service) {
            return Verdict::allow();
        }
        let owner = self.owner(review);
        let mut verdict = Verdict::allow();
        verdict.violations.extend(self.judge(review, owner));
        if !review.namespace.known {
            let namespace = quote(&review.namespace.name);
            verdict
                .warnings
                .push(format!("the labels of namespace {namespace} are not known"));
        }
        if let Some(owner) = owner {
            verdict
                .audit_annotations
                .push(("owner".into(), owner.into()));
        }
        verdict
    }

    fn mutate(&self, review: &Review) -> Mutation {
        let mut patch = Patch::new(&review.service);
        let found = pairs::get(&review.service.metadata.labels, &self.0.label);
        if let (None, Some(owner), true) =
            (found, self.owner(review), self.concerns(&review.service))
        {
            log::debug(&format!("adds the owner {}", quote(owner)));
            patch.set_label(&self.0.label, owner);
        }
        patch.finish()
    }
}

impl OwnerLabel {
    fn concerns(&self, service: &Service) -> bool {
        self.0.types.contains(&service.service_type())
    }

    /// Returns the owner of a namespace: its label counts before the settings.
    fn owner<'a>(&'a self, review: &'a Review) -> Option<&'a str> {
        let labelled = pairs::get(&review.namespace.labels, &self.0.label);
        labelled.or_else(|| pairs::get(&self.0.owners, &review.namespace.name))
    }

    fn judge(&self, review: &Review, owner: Option<&str>) -> Option<Violation> {
        let label = &self.0.label;
        let violation = |rule, message| Violation::new(rule, "metadata.labels", message);
        let Some(found) = pairs::get(&review.service.metadata.labels, label) else {
            let message = format!("the label {} is missing", quote(label));
            let fix = owner.map_or_else(
                || "add it".to_owned(),
                |owner| format!("add it with the value {}", quote(owner)),
            );
            return Some(violation("X02", message).key(label).fix(fix));
        };
        if let Some(owner) = owner.filter(|owner| *owner != found) {
            let message = format!(
                "the label {} says {}, but namespace {} belongs to {}",
                quote(label),
                quote(found),
                quote(&review.namespace.name),
                quote(owner)
            );
            let key = format!("{label}={found}");
            let fix = format!("use {}", quote(owner));
            return Some(violation("X02", message).key(key).fix(fix));
        }
        let length = found.chars().count();
        let most = self
            .0
            .max_length
            .filter(|most| u32::try_from(length).map_or(true, |length| length > *most))?;
        let message = format!(
            "the label {} has {length} characters, and {most} are allowed",
            quote(label)
        );
        Some(
            violation("X03", message)
                .key(format!("{label}={found}"))
                .fix("shorten it"),
        )
    }
}
