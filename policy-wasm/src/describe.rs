//! Descriptions, put together word by word.

use crate::description::{Context, Description};
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
        }
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

    fn with(mut self, context: Context) -> Self {
        self.context.push(context);
        self
    }
}
