//! Checks of a request's head: the method, and that no other site's page sent it.
//!
//! A page of another site can make a browser ask this port, also by a name of its own that it has
//! bound to 127.0.0.1 (DNS rebinding). Such a request has another `Host` or `Origin`, or says in
//! `Sec-Fetch-Site` that another site began it.

use super::refusal::Refusal;
use crate::live::Live;
use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use sallyport_core::excerpt::excerpt;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// The beginning of the paths with data. Other paths hold the page's own files, which reveal
/// nothing about the host.
pub(super) const DATA: &str = "/console/";

/// The header by which a browser says who began a request.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The checks of one listener.
pub(super) struct Guard {
    names: BTreeSet<String>,
    /// The host whose certificate names the console; `None` where it is reached without TLS.
    certificate: Option<Arc<Live>>,
}

impl Guard {
    /// Creates the checks of a listener that is also known by these names.
    pub(super) fn new(
        address: SocketAddr,
        names: Vec<String>,
        certificate: Option<Arc<Live>>,
    ) -> Self {
        let own = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        let known = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let names = known.into_iter().chain([own]).chain(names);
        Self {
            names: names.map(|name| name.to_ascii_lowercase()).collect(),
            certificate,
        }
    }

    /// Checks method, `Host` and `Origin`.
    pub(super) fn check(&self, head: &Parts) -> Result<(), Refusal> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the console only shows: GET and HEAD are all that it takes",
            ));
        }
        let host = self.host(head)?;
        let scheme = if self.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        match only(&head.headers, &ORIGIN) {
            Ok(None) => Ok(()),
            Ok(Some(origin)) if origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")) => {
                Ok(())
            }
            Ok(Some(_)) | Err(()) => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "Origin: this request comes from a page of another site",
            )),
        }
    }

    /// Checks that no other site began a request for data.
    pub(super) fn check_site(&self, head: &Parts) -> Result<(), Refusal> {
        match only(&head.headers, &SEC_FETCH_SITE) {
            Ok(None | Some("same-origin" | "none")) => Ok(()),
            Ok(Some(_)) | Err(()) => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "Sec-Fetch-Site: this request comes from a page of another site",
            )),
        }
    }

    /// Returns `Host`, if it is a name of the console. Any port will do: `kubectl port-forward` may
    /// choose another one.
    fn host<'a>(&self, head: &'a Parts) -> Result<&'a str, Refusal> {
        let host = only(&head.headers, &HOST).ok().flatten();
        let host = host.filter(|_| head.uri.authority().is_none());
        let Some(host) = host else {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "Host: expected one, and a path as the request's target",
            ));
        };
        let name = host.parse::<Authority>().ok();
        let name = name
            .filter(|authority| !authority.as_str().contains('@'))
            .map(|authority| authority.host().to_ascii_lowercase());
        if name.is_some_and(|name| self.knows(name.trim_end_matches('.'))) {
            return Ok(host);
        }
        let sentence = format!(
            "Host: {:?} is no name of this console; use localhost, or name it with --console-host",
            excerpt(host)
        );
        Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, sentence))
    }

    fn knows(&self, name: &str) -> bool {
        let identity = || self.certificate.as_ref()?.tls().identity();
        let is_name = |identity: crate::tls::Identity| {
            let names = &identity.certificate().names;
            names.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        self.names.contains(name) || identity().is_some_and(is_name)
    }
}

/// Returns the only value of a header; an error if there are several, or it is no text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn guard() -> Guard {
        let address = "127.0.0.1:8082".parse().expect("an address");
        Guard::new(address, vec!["Console.example.com".to_owned()], None)
    }

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/console/state");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn a_name_of_the_console_passes_with_any_port() {
        for host in [
            "localhost",
            "localhost:9000",
            "LOCALHOST.:1",
            "127.0.0.1:8082",
            "[::1]:8082",
            "console.example.com",
        ] {
            let checked = guard().check(&head(&[("host", host)]));
            assert!(checked.is_ok(), "{host}: {checked:?}");
        }
    }

    #[test]
    fn another_name_is_refused_whatever_it_looks_like() {
        for host in [
            "",
            "rebind.example.com",
            "localhost.example.com",
            "127.0.0.1.example.com:8082",
            "localhost@example.com",
            "user@localhost",
            "[::2]",
            "localhost/",
        ] {
            assert!(guard().check(&head(&[("host", host)])).is_err(), "{host}");
        }
        assert!(guard().check(&head(&[])).is_err());
        let two = [("host", "localhost"), ("host", "example.com")];
        assert!(guard().check(&head(&two)).is_err());
    }

    #[test]
    fn an_origin_must_be_the_console_itself() {
        let check = |origin| {
            let head = head(&[("host", "localhost:9000"), ("origin", origin)]);
            guard().check(&head).is_ok()
        };
        assert!(check("http://localhost:9000"));
        for other in [
            "null",
            "http://localhost",
            "http://localhost:8082",
            "https://localhost:9000",
            "http://example.com",
        ] {
            assert!(!check(other), "{other}");
        }
    }

    #[test]
    fn data_is_for_requests_of_the_page_and_of_the_address_bar() {
        let check = |site| {
            guard()
                .check_site(&head(&[("sec-fetch-site", site)]))
                .is_ok()
        };
        assert!(check("same-origin") && check("none"));
        assert!(!check("cross-site") && !check("same-site"));
        assert!(guard().check_site(&head(&[])).is_ok(), "no browser");
    }
}
