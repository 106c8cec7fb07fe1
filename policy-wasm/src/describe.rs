//! Descriptions, put together word by word.

use crate::description::{About, Compared, Context, Description};
use crate::review::{Operation, Phase, Resource};

impl Description {
    /// A policy that validates creates and updates of Services, and needs to know nothing else.
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

    /// It has something to say about Services that have at least one of these, and about no other.
    #[must_use]
    pub fn about(mut self, about: About) -> Self {
        self.about = about;
        self
    }

    /// It has something to say in [`crate::Policy::mutate`].
    #[must_use]
    pub fn mutating(mut self) -> Self {
        self.phases.push(Phase::Mutating);
        self
    }

    /// It must see writes to `services/status`, which can change labels and annotations.
    #[must_use]
    pub fn with_status_writes(mut self) -> Self {
        self.resources.push(Resource::ServicesStatus);
        self
    }

    /// It needs the namespace's labels.
    #[must_use]
    pub fn with_namespace(self) -> Self {
        self.with(Context::Namespace)
    }

    /// It needs the cluster's profile.
    #[must_use]
    pub fn with_cluster(self) -> Self {
        self.with(Context::Cluster)
    }

    /// It needs the selected Pods.
    #[must_use]
    pub fn with_pods(self) -> Self {
        self.with(Context::Pods)
    }

    /// Its verdicts depend on the values of annotations with these keys. In a key, `*` stands for
    /// any characters.
    #[must_use]
    pub fn compares_annotations<K: AsRef<str>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        self.compares(keys, Compared::Annotation)
    }

    /// Its verdicts depend on the values of labels with these keys, of the Service, its selector or
    /// the selected Pods. In a key, `*` stands for any characters.
    #[must_use]
    pub fn compares_labels<K: AsRef<str>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        self.compares(keys, Compared::Label)
    }

    /// Its verdicts depend on the values of the namespace's labels with these keys. In a key, `*`
    /// stands for any characters.
    #[must_use]
    pub fn compares_namespace_labels<K: AsRef<str>>(
        self,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        self.compares(keys, Compared::NamespaceLabel)
    }

    /// Its verdicts depend on `spec.externalName`.
    #[must_use]
    pub fn compares_external_name(mut self) -> Self {
        self.compares.push(Compared::ExternalName);
        self
    }

    /// Its verdicts depend on who writes.
    #[must_use]
    pub fn compares_user(mut self) -> Self {
        self.compares.push(Compared::User);
        self
    }

    /// The same, but it has nothing to say in [`crate::Policy::mutate`].
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
