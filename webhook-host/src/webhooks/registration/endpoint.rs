//! The address at which API servers call the host, and the authorities that they trust to have
//! signed its certificate.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::str::FromStr;

/// The address of the host.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// A Service of the cluster.
    Service {
        /// The Service's namespace, which is also the host's and is never reviewed.
        namespace: String,
        /// The Service's name.
        name: String,
        /// The Service's port.
        port: u16,
    },
    /// A URL outside the cluster.
    Url(BaseUrl),
}

/// The reason why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadEndpoint(String);

impl Endpoint {
    pub(super) fn client_config(&self, path: &str, ca: Option<&CaBundle>) -> WebhookClientConfig {
        let ca_bundle = ca.map(|ca| ByteString(ca.0.clone()));
        match self {
            Self::Service {
                namespace,
                name,
                port,
            } => {
                let service = ServiceReference {
                    name: name.clone(),
                    namespace: namespace.clone(),
                    path: Some(format!("/{path}")),
                    port: Some(i32::from(*port)),
                };
                WebhookClientConfig {
                    ca_bundle,
                    service: Some(service),
                    url: None,
                }
            }
            Self::Url(base) => WebhookClientConfig {
                ca_bundle,
                service: None,
                url: Some(format!("{}/{path}", base.0)),
            },
        }
    }
}

/// `https://host:port`, with a path where a proxy needs one, without a final slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl FromStr for BaseUrl {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let bad = |why: &str| {
            BadEndpoint(format!(
                "{text:?} {why}; write it like https://sallyport.example.com:8443"
            ))
        };
        let uri: hyper::Uri = text.parse().map_err(|_| bad("is no URL"))?;
        let authority = uri.authority().ok_or_else(|| bad("names no host"))?;
        if uri.scheme_str() != Some("https") {
            return Err(bad(
                "does not begin with https://, and an API server calls nothing else",
            ));
        }
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(bad(
                "has a user, a query or a fragment, which an API server refuses",
            ));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// Certificates of authorities as PEM: at least one, and no private key beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaBundle(Vec<u8>);

impl TryFrom<Vec<u8>> for CaBundle {
    type Error = BadEndpoint;

    fn try_from(pem: Vec<u8>) -> Result<Self, BadEndpoint> {
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let certificates =
            certificates.map_err(|error| BadEndpoint(format!("no PEM file: {error}")))?;
        if certificates.is_empty() {
            return Err(BadEndpoint(
                "holds no certificate (no block `BEGIN CERTIFICATE`)".to_owned(),
            ));
        }
        if pem.windows(PRIVATE.len()).any(|window| window == PRIVATE) {
            let advice = "holds a private key, which would be published; name the file with the \
                authority's certificate";
            return Err(BadEndpoint(advice.to_owned()));
        }
        Ok(Self(pem))
    }
}

const PRIVATE: &[u8] = b"PRIVATE KEY-----";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_what_an_api_server_may_call() {
        for (text, base) in [
            ("https://a.example:8443", "https://a.example:8443"),
            ("https://a.example/", "https://a.example"),
            ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ] {
            assert_eq!(
                text.parse::<BaseUrl>().map(|url| url.0),
                Ok(base.to_owned())
            );
        }
        for text in [
            "http://a.example",
            "a.example",
            "https://u@a.example",
            "https://a.example?x=1",
            "https://a#b",
            "",
        ] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bundle_has_a_certificate_and_no_key() {
        let authority =
            rcgen::generate_simple_self_signed(["ca".to_owned()]).expect("a certificate");
        let (certificate, key) = (authority.cert.pem(), authority.signing_key.serialize_pem());
        assert!(CaBundle::try_from(certificate.clone().into_bytes()).is_ok());
        assert!(CaBundle::try_from(b"nothing".to_vec()).is_err());
        assert!(CaBundle::try_from(format!("{certificate}{key}").into_bytes()).is_err());
    }
}
