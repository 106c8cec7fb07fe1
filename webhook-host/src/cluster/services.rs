//! Lists the Services of a cluster in pages, for `audit`. Each page is handed on as it is and
//! dropped, so that memory does not grow with the cluster.
//!
//! A page's token expires when the API server drops the state that the list began with (5 minutes
//! by default). The list then goes on with the state of now, if the API server offers that, or
//! begins anew.

use crate::kube_error;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, Request};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::ControlFlow;
use std::pin::pin;

/// Objects of a page. An API server's own watch cache lists so many, too.
const PAGE: u32 = 500;

/// The most times that a list begins anew. A list that always takes longer than the API server
/// keeps its state would otherwise never end.
const MAX_RESTARTS: u32 = 3;

/// The documentation of the right to list Services.
const RBAC: &str = "docs/audit.md#rights";

/// The Services to list.
#[derive(Clone)]
pub struct Services {
    client: Client,
    selector: Option<String>,
    page: u32,
}

/// The reason why a list did not complete.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The user may not list them.
    #[error("{0}")]
    Forbidden(String),
    /// Any other failure.
    #[error("{0}")]
    Failed(String),
}

/// An event of a list.
pub enum Listed<'a> {
    /// The next object, as the API server wrote it, without kind and version.
    Object(&'a RawValue),
    /// The list of this namespace, or of all, begins anew: its earlier objects don't count.
    Restart(Option<&'a str>),
    /// The list continues from a later state: objects that were created meanwhile may be missing,
    /// and objects that were deleted meanwhile may have been listed.
    Later,
}

/// An event of a watch.
pub enum Followed {
    /// A list begins: it replaces everything before.
    Begun,
    /// The list is complete.
    Complete,
    /// A Service as it is now.
    Written(Box<RawValue>),
    /// `namespace/name` of a Service that is gone.
    Deleted(String),
    /// Contact is lost for this reason; the watch tries again.
    Lost(String),
}

/// The objects of one list.
struct Scope<'a> {
    path: &'a str,
    namespace: Option<&'a str>,
    selector: Option<String>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    r#continue: String,
}

#[derive(Deserialize)]
struct Named {
    metadata: NamedMetadata,
}

#[derive(Deserialize)]
struct NamedMetadata {
    name: String,
}

impl Services {
    /// Creates a lister of the Services that a label selector selects, or of all.
    pub fn new(client: Client, selector: Option<String>) -> Self {
        Self {
            client,
            selector,
            page: PAGE,
        }
    }

    /// Sets the number of objects in a page.
    #[must_use]
    pub fn with_page(self, page: u32) -> Self {
        Self { page, ..self }
    }

    /// Lists the Services of a namespace, or of all.
    ///
    /// # Errors
    ///
    /// When the API server refuses or fails.
    pub async fn list(
        &self,
        namespace: Option<&str>,
        take: &mut dyn FnMut(Listed<'_>),
    ) -> Result<(), ListError> {
        let path = match namespace {
            Some(namespace) => format!("/api/v1/namespaces/{namespace}/services"),
            None => "/api/v1/services".to_owned(),
        };
        let scope = Scope {
            path: &path,
            namespace,
            selector: self.selector.clone(),
        };
        self.pages(scope, take).await
    }

    /// Returns the names of all namespaces.
    ///
    /// # Errors
    ///
    /// When the API server refuses or fails.
    pub async fn namespaces(&self) -> Result<Vec<String>, ListError> {
        let mut names = vec![];
        let take = &mut |listed: Listed<'_>| match listed {
            Listed::Object(object) => {
                let named = serde_json::from_str::<Named>(object.get());
                names.extend(named.map(|named| named.metadata.name));
            }
            Listed::Restart(_) => names.clear(),
            Listed::Later => {}
        };
        let scope = Scope {
            path: "/api/v1/namespaces",
            namespace: None,
            selector: None,
        };
        self.pages(scope, take).await?;
        Ok(names)
    }

    /// Follows the Services of a namespace, or of all, until `take` has enough. A watch that ends
    /// is resumed, and begins anew with a list where it must.
    pub async fn follow(
        &self,
        namespace: Option<&str>,
        take: &mut dyn FnMut(Followed) -> ControlFlow<()>,
    ) {
        let resource = ApiResource::erase::<Service>(&());
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let config = watcher::Config {
            label_selector: self.selector.clone(),
            ..watcher::Config::default().page_size(self.page)
        };
        let mut events = pin!(watcher::watcher(api, config).default_backoff());
        while let Some(event) = events.next().await {
            let followed = match event {
                Ok(Event::Init) => Followed::Begun,
                Ok(Event::InitDone) => Followed::Complete,
                Ok(Event::InitApply(object) | Event::Apply(object)) => match raw(&object) {
                    Ok(object) => Followed::Written(object),
                    Err(error) => Followed::Lost(error.to_string()),
                },
                Ok(Event::Delete(object)) => Followed::Deleted(format!(
                    "{}/{}",
                    object.namespace().unwrap_or_default(),
                    object.name_any()
                )),
                Err(error) => Followed::Lost(kube_error::causes(&error)),
            };
            if take(followed).is_break() {
                return;
            }
        }
    }

    async fn pages(
        &self,
        scope: Scope<'_>,
        take: &mut dyn FnMut(Listed<'_>),
    ) -> Result<(), ListError> {
        let path = scope.path;
        let mut token = None;
        let (mut restarts, mut expirations) = (0, 0);
        loop {
            let params = ListParams {
                label_selector: scope.selector.clone(),
                limit: Some(self.page),
                continue_token: token.clone(),
                ..ListParams::default()
            };
            match self.page(path, &params, take).await {
                Ok(next) if next.is_empty() => return Ok(()),
                Ok(next) => (token, expirations) = (Some(next), 0),
                Err(kube::Error::Api(status)) if status.code == 410 && token.is_some() => {
                    let next = status.metadata.and_then(|list| list.continue_);
                    token = next.filter(|next| !next.is_empty());
                    expirations += 1;
                    if token.is_some() && expirations == 1 {
                        take(Listed::Later);
                        continue;
                    }
                    (token, expirations) = (None, 0);
                    restarts += 1;
                    if restarts > MAX_RESTARTS {
                        return Err(ListError::Failed(format!(
                            "{path}: the list took longer than the API server keeps its state, \
                             {restarts} times; audit one namespace after another with --namespace"
                        )));
                    }
                    take(Listed::Restart(scope.namespace));
                }
                Err(error) => return Err(failed(path, &error)),
            }
        }
    }

    /// Passes on the objects of one page. Returns the token of the next page; empty at the end.
    async fn page(
        &self,
        path: &str,
        params: &ListParams,
        take: &mut dyn FnMut(Listed<'_>),
    ) -> kube::Result<String> {
        let request = Request::new(path)
            .list(params)
            .map_err(kube::Error::BuildRequest)?;
        let text = self.client.request_text(request).await?;
        let page: Page<'_> = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
        for object in page.items.into_iter().flatten() {
            take(Listed::Object(object));
        }
        Ok(page.metadata.r#continue)
    }
}

fn raw(object: &DynamicObject) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(serde_json::to_string(object)?)
}

fn failed(path: &str, error: &kube::Error) -> ListError {
    let (_, message) = kube_error::explain(error, RBAC);
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            ListError::Forbidden(message)
        }
        _ => ListError::Failed(format!("{path}: {message}")),
    }
}
