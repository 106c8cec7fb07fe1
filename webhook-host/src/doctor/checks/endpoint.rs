//! Checks of a webhook's address, and of the authorities that the API server trusts there.

use super::static_manifest::is_static;
use super::{At, quoted};
use crate::doctor::certificate::{self, Fault};
use crate::doctor::is_ours;
use crate::doctor::webhook::Configuration;
use crate::doctor::{Finding, Level};
use jiff::Timestamp;
use std::net::IpAddr;

impl At<'_> {
    /// Checks the address. A loopback address is right for a static manifest: the host runs beside
    /// each API server.
    pub(super) fn endpoint(&self, configuration: &Configuration) -> Vec<Finding> {
        let config = &self.webhook.client_config;
        let (level, field, found, why, fix) = match (&config.service, &config.url) {
            (Some(_), None) => return vec![],
            (None, Some(url)) if !url.starts_with("https://") => (
                Level::Error,
                "url",
                quoted(url),
                "an API server refuses it: it calls nothing but https",
                "use https",
            ),
            (None, Some(url)) if is_loopback(url) && is_static(configuration) => return vec![],
            (None, Some(url)) if is_loopback(url) => (
                Level::Warning,
                "url",
                quoted(url),
                "every machine with an API server would have to run the webhook",
                "run it in the cluster, behind a Service",
            ),
            (None, Some(url)) => (
                Level::Note,
                "url",
                quoted(url),
                "whether more than one replica answers can't be seen, and the name must resolve \
                 from the API server's machine",
                "put a load balancer in front of several replicas, or run it in the cluster behind \
                 a Service",
            ),
            (Some(_), Some(_)) | (None, None) => (
                Level::Error,
                "",
                "service and url, or neither".to_owned(),
                "an API server refuses it",
                "name exactly one of the two",
            ),
        };
        let field = if field.is_empty() {
            "clientConfig".to_owned()
        } else {
            format!("clientConfig.{field}")
        };
        vec![self.finding(level, &field, "load-balancer-webhook", (found, why, fix))]
    }

    pub(super) fn certificate(
        &self,
        configuration: &Configuration,
        now: Timestamp,
    ) -> Option<Finding> {
        const ITEM: &str = "api: WebhookClientConfig.caBundle";
        const FIELD: &str = "clientConfig.caBundle";
        let config = &self.webhook.client_config;
        let annotations = configuration.metadata.annotations.iter().flatten();
        let injected = annotations
            .into_iter()
            .any(|(key, _)| key.contains("inject") && key.contains("ca"));
        let Some(bundle) = config
            .ca_bundle
            .as_ref()
            .filter(|bundle| !bundle.0.is_empty())
        else {
            let fix = match is_ours(configuration) {
                true => {
                    "let the host write it (serve --self-managed-certificate), or give the \
                     authority's certificate in PEM (sallyport webhooks --ca-bundle)"
                }
                false => {
                    "give the authority's certificate in PEM, or let cert-manager inject it \
                     (cert-manager.io/inject-ca-from)"
                }
            };
            let texts = (
                "none".to_owned(),
                "the API server then trusts only its own system's roots, which sign no certificate \
                 for a name ending in .svc",
                fix,
            );
            let needed = config.service.is_some() && !injected;
            return needed.then(|| self.finding(Level::Warning, FIELD, ITEM, texts));
        };
        let (level, found, why, fix) = match certificate::fault(&bundle.0, now)? {
            Fault::Unreadable(why) if injected => (
                Level::Note,
                why,
                "each call fails until another controller injects one, as an annotation asks",
                "in a cluster, see whether that works",
            ),
            Fault::Unreadable(why) => (
                Level::Error,
                why,
                "no connection to the webhook can be trusted: each call fails",
                "give the authority's certificate in PEM",
            ),
            Fault::Expired(end) => (
                Level::Error,
                format!("expired at {end}"),
                "no connection to the webhook can be trusted: each call fails",
                "renew the authority, and the webhook's certificate",
            ),
            Fault::Expiring(end) => (
                Level::Warning,
                format!("ends at {end}"),
                "from then on each call fails",
                "renew the authority before; put the new certificate beside the old one first",
            ),
        };
        Some(self.finding(level, FIELD, ITEM, (found, why, fix)))
    }
}

/// Returns true when a URL leads to the machine that calls it.
fn is_loopback(url: &str) -> bool {
    let authority = url
        .trim_start_matches("https://")
        .split(['/', '?', '#'])
        .next()
        .unwrap_or_default();
    let host = authority
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .strip_suffix(':')
        .unwrap_or(authority);
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
