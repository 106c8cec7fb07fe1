//! The Reports of a cluster, as the API server has them.
//!
//! Only metadata is read. Each write names the version that it replaces, so that two replicas that
//! both think they lead don't undo each other's work.

use super::plan::{DIGEST, Existing, Write};
use crate::audit::open_report::{API_VERSION, KIND, MANAGED_BY};
use crate::kube_error;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Status};
use kube::{Api, Client, ResourceExt as _};
use std::collections::{BTreeMap, BTreeSet};

/// The manifest that grants the rights.
pub(super) const RBAC: &str = "deploy/components/audit-reports";

/// Reports of a page; metadata alone.
const PAGE: u32 = 500;

/// Namespaces in which Reports may be refused before the pass gives up: a quota is one namespace's,
/// a missing right is everybody's.
const MAX_REFUSING: usize = 5;

/// Writes and reads Reports.
pub(super) struct Reports {
    client: Client,
    resource: ApiResource,
}

/// What was refused in a pass that goes on.
#[derive(Debug, Default)]
pub(super) struct Failure {
    refusing: BTreeSet<String>,
    first: Option<String>,
}

impl Failure {
    /// Returns the first refusal, for all of them.
    pub(super) fn into_result(self) -> Result<(), String> {
        match self.first {
            Some(first) => Err(format!("some Reports can't be written: {first}")),
            None => Ok(()),
        }
    }
}

impl Reports {
    pub(super) fn new(client: Client) -> Self {
        let (group, version) = API_VERSION.split_once('/').expect("a group and a version");
        let kind = GroupVersionKind::gvk(group, version, KIND);
        Self {
            client,
            resource: ApiResource::from_gvk_with_plural(&kind, "reports"),
        }
    }

    /// Lists the Reports that hosts have written, by `namespace/name`.
    pub(super) async fn list(&self) -> Result<BTreeMap<String, Existing>, String> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &self.resource);
        let mut params = ListParams::default()
            .labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1))
            .limit(PAGE);
        let mut found = BTreeMap::new();
        loop {
            let page = match api.list_metadata(&params).await {
                Ok(page) => page,
                Err(error) => return Err(self.explain(&error).await),
            };
            for object in page.items {
                let name = format!(
                    "{}/{}",
                    object.namespace().unwrap_or_default(),
                    object.name_any()
                );
                let existing = Existing {
                    digest: object
                        .annotations()
                        .get(DIGEST)
                        .cloned()
                        .unwrap_or_default(),
                    uid: object.uid().unwrap_or_default(),
                    resource_version: object.resource_version().unwrap_or_default(),
                };
                found.insert(name, existing);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Creates or replaces a Report. Returns the operation, or `None` where it is left for the next
    /// pass.
    pub(super) async fn write(
        &self,
        write: &Write,
        failure: &mut Failure,
    ) -> Result<Option<&'static str>, String> {
        let mut report = write.report.clone();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let namespace = text(&report["metadata"]["namespace"]);
        let name = text(&report["metadata"]["name"]);
        if failure.refusing.contains(&namespace) {
            return Ok(None);
        }
        if let Some(existing) = &write.existing {
            report["metadata"]["resourceVersion"] = existing.resource_version.as_str().into();
        }
        let object: DynamicObject =
            serde_json::from_value(report).map_err(|error| error.to_string())?;
        let api = self.api(&namespace);
        let params = PostParams::default();
        let (operation, result) = match &write.existing {
            Some(_) => ("update", api.replace(&name, &params, &object).await),
            None => ("create", api.create(&params, &object).await),
        };
        match result {
            Ok(_) => Ok(Some(operation)),
            Err(error) => {
                self.judge(&namespace, &error, failure).await?;
                Ok(None)
            }
        }
    }

    /// Deletes a Report that is still the one that was listed. Returns true if it is gone by that.
    pub(super) async fn delete(
        &self,
        name: &str,
        existing: &Existing,
        failure: &mut Failure,
    ) -> Result<bool, String> {
        let (namespace, name) = name.split_once('/').unwrap_or_default();
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(existing.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api(namespace).delete(name, &params).await {
            Ok(_) => Ok(true),
            Err(error) => {
                self.judge(namespace, &error, failure).await?;
                Ok(false)
            }
        }
    }

    fn api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &self.resource)
    }

    /// Decides whether a pass goes on after a failed write: what concerns one Report or namespace
    /// is left for the next pass, and everything else ends this one.
    async fn judge(
        &self,
        namespace: &str,
        error: &kube::Error,
        failure: &mut Failure,
    ) -> Result<(), String> {
        let kube::Error::Api(status) = error else {
            return Err(self.explain(error).await);
        };
        if is_passing(status) {
            return Ok(());
        }
        if matches!(status.code, 403 | 409) && failure.refusing.len() < MAX_REFUSING {
            if status.code == 403 {
                failure.refusing.insert(namespace.to_owned());
            }
            let (_, message) = kube_error::explain(error, RBAC);
            let message = match status.code {
                409 => format!(
                    "{}, and is not Sallyport's, or another replica was faster; delete it if it \
                     stays",
                    status.message
                ),
                _ => message,
            };
            failure.first.get_or_insert(message);
            return Ok(());
        }
        Err(self.explain(error).await)
    }

    /// Explains a failure that concerns all Reports.
    async fn explain(&self, error: &kube::Error) -> String {
        let kube::Error::Api(status) = error else {
            return kube_error::explain(error, RBAC).1;
        };
        if status.code != 404 {
            return kube_error::explain(error, RBAC).1;
        }
        let groups = self.client.list_api_groups().await;
        let group = groups.ok().and_then(|groups| {
            let mut groups = groups.groups.into_iter();
            groups.find(|group| group.name == self.resource.group)
        });
        match group {
            Some(group) => {
                let versions = group.versions.into_iter();
                let versions: Vec<_> = versions.map(|version| version.group_version).collect();
                format!(
                    "the API server has Reports of {} alone, and this host writes {API_VERSION}; \
                     install a CRD that serves that version, or another version of Sallyport",
                    versions.join(", ")
                )
            }
            None => format!(
                "the API server knows no Reports of {API_VERSION}; install the CRDs of OpenReports \
                 (github.com/openreports/reports-api), or run without --audit-reports"
            ),
        }
    }
}

/// Returns true for a failure that the next pass mends by itself: the Report was changed or deleted
/// meanwhile, or its namespace is going.
fn is_passing(status: &Status) -> bool {
    let is_of_namespace = || {
        let details = status.details.as_ref();
        details.is_some_and(|details| {
            let mut causes = details.causes.iter();
            details.kind == "namespaces"
                || causes.any(|cause| cause.reason == "NamespaceTerminating")
        })
    };
    let is_report = || {
        let details = status.details.as_ref();
        details.is_some_and(|details| details.kind == "reports")
    };
    match status.code {
        409 => status.reason == "Conflict",
        404 => is_of_namespace() || is_report(),
        403 => is_of_namespace(),
        _ => false,
    }
}
