//! A client that records when the API server last answered.
//!
//! A kube watcher reports failures and events, but neither a resumed watch nor a bookmark, which
//! both prove contact.

use super::Resource;
use crate::watchers::Watched;
use axum::http::Response;
use http_body_util::BodyExt as _;
use kube::client::{ClientBuilder, DynBody};
use kube::{Client, Config};
use std::sync::Arc;
use tower::util::MapResponseLayer;

/// Returns a client for one resource. Each resource has its own, so that contact is recorded by
/// resource.
pub(super) fn client(
    config: &Config,
    resource: Resource,
    watched: &Arc<Watched>,
) -> kube::Result<Client> {
    let watched = Arc::clone(watched);
    let layer = MapResponseLayer::new(move |response: Response<Box<DynBody>>| {
        let watched = response.status().is_success().then(|| Arc::clone(&watched));
        let heard = move || {
            if watched
                .as_ref()
                .is_some_and(|watched| watched.contact(resource.plural))
            {
                tracing::info!(
                    resource = resource.plural,
                    "in contact with the API server again"
                );
            }
        };
        heard();
        response.map(|body| {
            body.map_frame(move |frame| {
                heard();
                frame
            })
        })
    });
    Ok(ClientBuilder::try_from(config.clone())?
        .with_layer(&layer)
        .build())
}
