//! Protects marked Services from changes that break their clients (S18): of type, class, addresses
//! and kind of load balancer, and from deletion.
//!
//! The old object's mark counts, so that no update takes the mark off and changes something else.
//! The offence is the change: it has no key, and no update keeps it.

mod addresses;
mod mark;

use mark::{Mark, Marks};
use sallyport_facts::addresses::NAMES;
use sallyport_facts::pools::CHOOSES;
use sallyport_facts::{keys, kinds};
use sallyport_policy::prelude::*;
use settings::{OnUnknown, Protected, Writers};

policy!(ChangeProtection, "policy.wit", backstop = "backstop.yaml");

/// The marks, and what they protect from whom.
pub struct ChangeProtection {
    marks: Marks,
    protect: Vec<Protected>,
    /// Who may change addresses.
    writers: Subjects,
    /// Who may take the annotation off. Empty: everybody.
    unmarkers: Subjects,
}

impl Policy for ChangeProtection {
    type Settings = Settings;

    fn describe() -> Description {
        let names = NAMES.iter().map(|row| row.key);
        Description {
            operations: vec![Operation::Update],
            ..Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        }
        .with_status_writes()
        .compares_annotations(names.chain(CHOOSES.iter().map(|row| row.key)))
        .compares_annotations(keys::of_load_balancers())
        .compares_annotations(kinds::keys())
    }

    /// Without a mark, about Services without a type: no API server sends one.
    fn describe_configured(&self) -> Description {
        let mut description = Self::describe();
        if self.marks.is_none() {
            return description.about(About::TYPE_UNSET);
        }
        if self.protects(Protected::Deletion) {
            description = description.with_deletions();
        }
        if !self.writers.is_empty() || !self.unmarkers.is_empty() {
            description = description.compares_user();
        }
        description = description.compares_annotations(&self.marks.annotation);
        if self.marks.labels.is_empty() {
            return description.about(About::COMPARED_ANNOTATIONS);
        }
        let labels = self.marks.labels.iter().map(|(key, _)| key);
        description
            .with_namespace()
            .compares_namespace_labels(labels)
    }

    fn defaults() -> Settings {
        Settings {
            mark: None,
            namespace_labels: vec![],
            on_unknown: OnUnknown::Deny,
            protect: vec![
                Protected::Deletion,
                Protected::Type,
                Protected::Class,
                Protected::Addresses,
                Protected::Kind,
            ],
            writers: Writers {
                users: vec![],
                groups: vec![],
                service_accounts: vec![],
            },
            unmarkers: vec![],
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        if let Some(mark) = &settings.mark {
            names::annotation("mark".to_owned(), mark, &mut errors);
        } else if !settings.unmarkers.is_empty() {
            const PROBLEM: &str = "has no effect without mark; name the annotation";
            errors.push(SettingsError::new("unmarkers", PROBLEM));
        }
        names::labels("namespaceLabels", &settings.namespace_labels, &mut errors);
        if settings.protect.is_empty() {
            const PROBLEM: &str = "an empty list protects nothing; remove the policy instead";
            errors.push(SettingsError::new("protect", PROBLEM));
        }
        let Writers {
            users,
            groups,
            service_accounts,
        } = settings.writers;
        let policy = Self {
            marks: Marks {
                annotation: settings.mark,
                labels: settings.namespace_labels,
                unknown_marks: settings.on_unknown == OnUnknown::Deny,
            },
            protect: settings.protect,
            writers: Subjects::parse("writers", users, groups, service_accounts, &mut errors),
            unmarkers: Subjects::groups("unmarkers", settings.unmarkers, &mut errors),
        };
        if errors.is_empty() {
            Ok(policy)
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        match (review.operation, &review.old_service) {
            (Operation::Delete, _) => self.judge_deletion(review),
            (Operation::Update, Some(old)) => self.judge_update(review, old),
            (Operation::Create | Operation::Update, _) => Verdict::allow(),
        }
    }
}

impl ChangeProtection {
    fn judge_deletion(&self, review: &Review) -> Verdict {
        let mark = self.marks.of(&review.service, &review.namespace);
        match mark.filter(|_| self.protects(Protected::Deletion)) {
            Some(mark) => Verdict::deny(mark.violation(mark.field(), "it may not be deleted")),
            None => Verdict::allow(),
        }
    }

    fn judge_update(&self, review: &Review, old: &Service) -> Verdict {
        let new = &review.service;
        let Some(mark) = self.marks.of(old, &review.namespace) else {
            return Verdict::allow();
        };
        let mut verdict = Verdict::allow();
        verdict.violations.extend(self.unmarking(review, old));
        if self.protects(Protected::Type) && old.service_type() != new.service_type() {
            let (before, after) = (old.service_type(), new.service_type());
            let problem = format!("its type {before} may not become {after}");
            verdict.add(mark.violation("spec.type".to_owned(), &problem));
            // Class, addresses and kind change with the type.
            return verdict;
        }
        if self.protects(Protected::Class) {
            verdict.violations.extend(class(old, new, &mark));
        }
        let may_change = self.writers.include(&review.user);
        if self.protects(Protected::Addresses) && !may_change {
            let is_status = review.resource == Resource::ServicesStatus;
            let judges_status = is_status && !self.writers.is_empty();
            for violation in addresses::violations(old, new, judges_status, &mark) {
                if !verdict.add(violation) {
                    return verdict;
                }
            }
        }
        if self.protects(Protected::Kind) {
            verdict
                .violations
                .extend(kinds::changes(old, new).into_iter().map(|change| {
                    let field = format!("metadata.annotations[\"{}\"]", change.key);
                    mark.violation(field, &becomes(change.old, change.new))
                }));
        }
        verdict
    }

    /// Returns the violation of a user who takes the annotation off and may not.
    fn unmarking(&self, review: &Review, old: &Service) -> Option<Violation> {
        let is_off = self.marks.annotated(&review.service).is_none();
        let (key, value) = self.marks.annotated(old).filter(|_| is_off)?;
        if self.unmarkers.is_empty() || self.unmarkers.include(&review.user) {
            return None;
        }
        let message = format!(
            "{} protects the Service, and {} may not take it off",
            quote(value),
            quote(&review.user.name)
        );
        let field = format!("metadata.annotations[{}]", quote(key));
        Some(Violation::new("S18", field, message).fix("leave it to a member of unmarkers"))
    }

    fn protects(&self, what: Protected) -> bool {
        self.protect.contains(&what)
    }
}

/// Returns the violation of a class that changes. To get a class is no change: an update can only
/// set one where there was none.
fn class(old: &Service, new: &Service, mark: &Mark<'_>) -> Option<Violation> {
    let (old, new) = (&old.spec.load_balancer_class, &new.spec.load_balancer_class);
    if old.is_none() || old == new {
        return None;
    }
    let problem = becomes(old.as_deref(), new.as_deref());
    Some(mark.violation("spec.loadBalancerClass".to_owned(), &problem))
}

/// Returns the words for a change of a value.
fn becomes(old: Option<&str>, new: Option<&str>) -> String {
    match (old, new) {
        (Some(old), Some(new)) => format!("{} may not become {}", quote(old), quote(new)),
        (Some(old), None) => format!("{} may not be removed", quote(old)),
        (None, new) => format!("{} may not be added", quote(new.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests;
