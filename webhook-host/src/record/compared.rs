//! The free-form texts of a review that decide about it, and so are recorded as they are.
//!
//! A policy names them in its description (`compares`), its manifest by the selector of namespaces,
//! and the host's exemptions by the users and groups that they name. Everything else is hashed
//! (`redaction`).

use super::kept::is_kept_field;
use sallyport_core::contract::description::{Compared as Declared, Context};
use sallyport_core::manifest::Exemptions;
use sallyport_core::policy::{Keys, Policy};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Sets of free-form texts by their place in a review.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compared {
    annotations: Keys,
    labels: Keys,
    namespace_labels: Keys,
    namespace_annotations: Keys,
    external_name: bool,
    user: bool,
    user_uid: bool,
    user_extra: Keys,
    condition_messages: bool,
    /// True if a policy gets whole objects, and so may compare fields that the contract lacks. Such
    /// fields are hashed all the same.
    raw_objects: bool,
}

impl Compared {
    /// Returns the texts that one policy and its manifest's selector compare. A broken policy
    /// compares none.
    pub(crate) fn by(policy: &Policy) -> Self {
        let mut compared = Self::default();
        if let Some((annotations, labels)) = policy.compared_keys() {
            (compared.annotations, compared.labels) = (annotations.clone(), labels.clone());
        }
        let declared = || {
            policy
                .description()
                .into_iter()
                .flat_map(|description| &description.compares)
        };
        compared.namespace_labels = declared().filter_map(namespace_label).collect();
        compared.namespace_annotations = declared().filter_map(namespace_annotation).collect();
        compared.user_extra = declared().filter_map(user_extra).collect();
        for declared in declared() {
            match declared {
                Declared::ExternalName => compared.external_name = true,
                Declared::User => compared.user = true,
                Declared::UserUid => compared.user_uid = true,
                Declared::ConditionMessages => compared.condition_messages = true,
                _ => {}
            }
        }
        compared.raw_objects = policy.needs(Context::RawObjects);
        compared.and(Self::by_selector(policy))
    }

    /// Returns the namespace labels that a policy's manifest selects by.
    pub(crate) fn by_selector(policy: &Policy) -> Self {
        Self {
            namespace_labels: policy.manifest().spec.r#match.compared_labels().collect(),
            ..Self::default()
        }
    }

    /// Returns a copy that contains nothing of the user.
    pub(crate) fn without_user(self) -> Self {
        Self {
            user: false,
            user_uid: false,
            user_extra: Keys::default(),
            ..self
        }
    }

    /// Adds the texts that another policy compares.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.annotations.extend([other.annotations]);
        self.labels.extend([other.labels]);
        self.namespace_labels.extend([other.namespace_labels]);
        self.namespace_annotations
            .extend([other.namespace_annotations]);
        self.external_name |= other.external_name;
        self.user |= other.user;
        self.user_uid |= other.user_uid;
        self.user_extra.extend([other.user_extra]);
        self.condition_messages |= other.condition_messages;
        self.raw_objects |= other.raw_objects;
        self
    }

    pub(super) fn annotation(&self, key: &str) -> bool {
        self.annotations.contain(key)
    }

    pub(super) fn label(&self, key: &str) -> bool {
        self.labels.contain(key)
    }

    pub(super) fn namespace_label(&self, key: &str) -> bool {
        self.namespace_labels.contain(key)
    }

    pub(super) fn namespace_annotation(&self, key: &str) -> bool {
        self.namespace_annotations.contain(key)
    }

    pub(super) fn user_uid(&self) -> bool {
        self.user_uid
    }

    pub(super) fn user_extra(&self, key: &str) -> bool {
        self.user_extra.contain(key)
    }

    pub(super) fn condition_messages(&self) -> bool {
        self.condition_messages
    }

    pub(super) fn external_name(&self) -> bool {
        self.external_name
    }

    pub(super) fn user(&self) -> bool {
        self.user
    }

    /// Returns the first of these JSON Pointers to hashed texts whose text is compared.
    pub(crate) fn first<'a>(&self, hashed: &'a [String]) -> Option<&'a str> {
        hashed
            .iter()
            .map(String::as_str)
            .find(|pointer| self.compares(pointer))
    }

    fn compares(&self, pointer: &str) -> bool {
        let steps: Vec<_> = pointer
            .split('/')
            .skip(1)
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        let steps: Vec<_> = steps.iter().map(String::as_str).collect();
        match steps[..] {
            ["request", "object" | "oldObject", "metadata", "annotations"] => {
                !self.annotations.is_empty()
            }
            [
                "request",
                "object" | "oldObject",
                "metadata",
                "annotations",
                key,
                ..,
            ] => self.annotation(key),
            [
                "request",
                "object" | "oldObject",
                "metadata",
                "labels",
                key,
                ..,
            ]
            | [
                "request",
                "object" | "oldObject",
                "spec",
                "selector",
                key,
                ..,
            ]
            | ["inventory", "pods", key] => self.label(key),
            ["inventory", "labels", key] => self.namespace_label(key),
            ["inventory", "annotations", key] => self.namespace_annotation(key),
            ["request", "object" | "oldObject", "spec", "externalName"] => self.external_name,
            [
                "request",
                "object" | "oldObject",
                "status",
                "conditions",
                _,
                "message",
            ] => self.condition_messages || self.raw_objects,
            ["request", "userInfo", "username" | "groups", ..] => self.user,
            ["request", "userInfo", "uid"] => self.user_uid,
            ["request", "userInfo", "extra", key, ..] => self.user_extra(key),
            ["request", "object" | "oldObject", ref field @ ..] => {
                self.raw_objects || is_kept_field(field)
            }
            _ => false,
        }
    }
}

fn namespace_label(declared: &Declared) -> Option<&str> {
    match declared {
        Declared::NamespaceLabel(key) => Some(key),
        _ => None,
    }
}

fn namespace_annotation(declared: &Declared) -> Option<&str> {
    match declared {
        Declared::NamespaceAnnotation(key) => Some(key),
        _ => None,
    }
}

fn user_extra(declared: &Declared) -> Option<&str> {
    match declared {
        Declared::UserExtra(key) => Some(key),
        _ => None,
    }
}

/// The users and groups that exemptions name, and the annotation for break-glass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subjects {
    names: BTreeSet<String>,
    annotation: Option<String>,
}

impl Subjects {
    /// Returns everybody whom the exemptions of the host and of its policies name, as the API
    /// server writes them.
    pub(crate) fn of<'a>(
        exemptions: &Exemptions,
        policies: impl IntoIterator<Item = &'a Arc<Policy>>,
    ) -> Self {
        let Exemptions {
            users,
            groups,
            service_accounts,
            break_glass,
            ..
        } = exemptions;
        let mut names = BTreeSet::new();
        let mut add =
            |users: &[_], groups: &[_], accounts: &[sallyport_core::manifest::ServiceAccount]| {
                names.extend(
                    users
                        .iter()
                        .map(sallyport_core::manifest::Subject::to_string),
                );
                names.extend(
                    groups
                        .iter()
                        .map(sallyport_core::manifest::Group::to_string),
                );
                names.extend(
                    accounts
                        .iter()
                        .map(|account| account.user_name().to_owned()),
                );
            };
        add(users, groups, service_accounts);
        for policy in policies {
            let own = &policy.manifest().spec.exemptions;
            add(&own.users, &own.groups, &own.service_accounts);
        }
        if let Some(break_glass) = break_glass {
            add(
                &break_glass.users,
                &break_glass.groups,
                &break_glass.service_accounts,
            );
        }
        Self {
            names,
            annotation: break_glass
                .as_ref()
                .map(|break_glass| break_glass.annotation.to_string()),
        }
    }

    pub(super) fn name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn annotation(&self, key: &str) -> bool {
        self.annotation.as_deref() == Some(key)
    }

    /// Returns a digest of sixteen hexadecimal digits that distinguishes two values.
    pub(crate) fn digest(&self) -> String {
        let text = format!("{:?}", (&self.names, &self.annotation));
        Sha256::digest(text)
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Returns the first of these JSON Pointers to hashed texts whose text these exemptions may
    /// compare.
    pub(crate) fn first<'a>(&self, hashed: &'a [String]) -> Option<&'a str> {
        let is_subject = |pointer: &str| {
            pointer.starts_with("/request/userInfo/") && !pointer.contains("/extra")
        };
        let annotation = self
            .annotation
            .as_ref()
            .map(|key| key.replace('~', "~0").replace('/', "~1"));
        hashed.iter().map(String::as_str).find(|pointer| {
            (!self.names.is_empty() && is_subject(pointer))
                || annotation
                    .as_ref()
                    .is_some_and(|key| pointer.ends_with(&format!("/annotations/{key}")))
        })
    }
}
