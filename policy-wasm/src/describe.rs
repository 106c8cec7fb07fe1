//! Descriptions, put together word by word.

use crate::description::{About, Context, Description};
use crate::review::{Operation, Phase, Resource};

impl Description {
    /// A policy that validates creates and updates of Services, and needs to know nothing else. `name` and `version` are
    /// usually `env!("CARGO_PKG_NAME")` and `env!("CARGO_PKG_VERSION")`.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            phases: vec![Phase::Validating],
            operations: vec![Operation::Create, Operation::Update],
            resources: vec![Resource::Services],
            context: vec![],
            about: About::empty(),
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

    /// The same, but it has nothing to say in [`crate::Policy::mutate`].
    #[must_use]
    pub fn not_mutating(mut self) -> Self {
        self.phases.retain(|phase| *phase != Phase::Mutating);
        self
    }

    fn with(mut self, context: Context) -> Self {
        self.context.push(context);
        self
    }
}
