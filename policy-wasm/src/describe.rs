//! Builders for [`Description`].

use crate::description::{About, Compared, Context, Description};
use crate::review::{Operation, Phase, Resource};

impl Description {
    /// Describes a policy that validates creates and updates of Services and requests no context.
    /// `name` and `version` are usually `env!("CARGO_PKG_NAME")` and `env!("CARGO_PKG_VERSION")`.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            phases: vec![Phase::Validating],
            operations: vec![Operation::Create, Operation::Update],
            resources: vec![Resource::Services],
            context: vec![],
            about: About::empty(),
            compares: vec![],
        }
    }

    /// Limits the policy to Services that have at least one of these properties. The host does not
    /// ask it about others.
    #[must_use]
    pub fn about(mut self, about: About) -> Self {
        self.about = about;
        self
    }

    /// Adds the mutating phase: the host calls [`crate::Policy::mutate`].
    #[must_use]
    pub fn mutating(mut self) -> Self {
        self.phases.push(Phase::Mutating);
        self
    }

    /// Adds deletions. The host asks about them in the validating phase alone.
    #[must_use]
    pub fn with_deletions(mut self) -> Self {
        self.operations.push(Operation::Delete);
        self
    }

    /// Adds writes to `services/status`, which can change labels and annotations.
    #[must_use]
    pub fn with_status_writes(mut self) -> Self {
        self.resources.push(Resource::ServicesStatus);
        self
    }

    /// Requests the namespace's labels.
    #[must_use]
    pub fn with_namespace(self) -> Self {
        self.with(Context::Namespace)
    }

    /// Requests the namespace's labels and annotations.
    #[must_use]
    pub fn with_namespace_annotations(self) -> Self {
        self.with(Context::NamespaceAnnotations)
    }

    /// Requests the JSON texts of the Service and of the old one, which have every field.
    #[must_use]
    pub fn with_raw_objects(self) -> Self {
        self.with(Context::RawObjects)
    }

    /// Requests the cluster's profile.
    #[must_use]
    pub fn with_cluster(self) -> Self {
        self.with(Context::Cluster)
    }

    /// Requests the selected Pods.
    #[must_use]
    pub fn with_pods(self) -> Self {
        self.with(Context::Pods)
    }

    /// Declares that verdicts depend on the values of annotations with these keys. In a key, `*`
    /// stands for any characters.
    #[must_use]
    pub fn compares_annotations<K: AsRef<str>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        self.compares(keys, Compared::Annotation)
    }

    /// Declares that verdicts depend on the values of labels with these keys: of the Service, its
    /// selector or the selected Pods. In a key, `*` stands for any characters.
    #[must_use]
    pub fn compares_labels<K: AsRef<str>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        self.compares(keys, Compared::Label)
    }

    /// Declares that verdicts depend on the values of the namespace's labels with these keys. In a
    /// key, `*` stands for any characters.
    #[must_use]
    pub fn compares_namespace_labels<K: AsRef<str>>(
        self,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        self.compares(keys, Compared::NamespaceLabel)
    }

    /// Declares that verdicts depend on the values of the namespace's annotations with these keys.
    /// In a key, `*` stands for any characters.
    #[must_use]
    pub fn compares_namespace_annotations<K: AsRef<str>>(
        self,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        self.compares(keys, Compared::NamespaceAnnotation)
    }

    /// Declares that verdicts depend on `spec.externalName`.
    #[must_use]
    pub fn compares_external_name(mut self) -> Self {
        self.compares.push(Compared::ExternalName);
        self
    }

    /// Declares that verdicts depend on the name and the groups of the user who writes.
    #[must_use]
    pub fn compares_user(mut self) -> Self {
        self.compares.push(Compared::User);
        self
    }

    /// Declares that verdicts depend on the uid of the user who writes.
    #[must_use]
    pub fn compares_user_uid(mut self) -> Self {
        self.compares.push(Compared::UserUid);
        self
    }

    /// Declares that verdicts depend on the values of the user's `extra` with these keys. In a key,
    /// `*` stands for any characters.
    #[must_use]
    pub fn compares_user_extra<K: AsRef<str>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        self.compares(keys, Compared::UserExtra)
    }

    /// Declares that verdicts depend on the messages of the status's conditions.
    #[must_use]
    pub fn compares_condition_messages(mut self) -> Self {
        self.compares.push(Compared::ConditionMessages);
        self
    }

    /// Removes the mutating phase: the host does not call [`crate::Policy::mutate`].
    #[must_use]
    pub fn not_mutating(mut self) -> Self {
        self.phases.retain(|phase| *phase != Phase::Mutating);
        self
    }

    fn compares<K: AsRef<str>>(
        mut self,
        keys: impl IntoIterator<Item = K>,
        compared: fn(String) -> Compared,
    ) -> Self {
        for key in keys {
            self.compares.push(compared(key.as_ref().to_owned()));
        }
        self
    }

    fn with(mut self, context: Context) -> Self {
        self.context.push(context);
        self
    }
}
