//! Where requests may go: https only, but for loopback; never to a link-local address, where clouds
//! keep the credentials of their machines.
//!
//! Invariant: an address is judged after it was resolved, and for each step of a redirect anew.

use super::error::{Reason, RegistryError};
use hyper::Uri;
use sallyport_core::manifest::Host;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The server that a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) is_https: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    /// Returns the server of a registry's API. Docker Hub's server has another name than its
    /// references.
    pub(super) fn of_registry(registry: &Host, is_https: bool) -> Self {
        let host = match registry.name() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            name => name.trim_start_matches('[').trim_end_matches(']'),
        };
        let default = if is_https { 443 } else { 80 };
        Self {
            is_https,
            host: host.to_owned(),
            port: registry.port().unwrap_or(default),
        }
    }

    /// Returns the server of a URI that another server has sent.
    fn of_uri(uri: &Uri) -> Option<Self> {
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host()?;
        let default = if is_https { 443 } else { 80 };
        Some(Self {
            is_https,
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(default),
        })
    }

    /// Returns true if the host is this machine, by name or address.
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(is_loopback)
    }

    /// Returns the value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        let brackets = self.host.contains(':');
        let default = if self.is_https { 443 } else { 80 };
        let host = if brackets {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// A server with the path and query of a request.
#[derive(Debug, Clone)]
pub(super) struct Url {
    pub(super) origin: Origin,
    pub(super) path: String,
}

impl Url {
    /// Reads a location that a server has sent: a complete URI, or a path on the same server.
    ///
    /// # Errors
    ///
    /// Fails when it is neither, or when no request may go there.
    pub(super) fn read(text: &str, from: &Origin) -> Result<Self, RegistryError> {
        let refuse = |why: &str| {
            let shown = sallyport_core::excerpt::excerpt(text)
                .escape_debug()
                .to_string();
            let message = format!("{from} sends the request to {shown}, {why}");
            Err(RegistryError::new(Reason::Redirect, message))
        };
        if text.starts_with('/') && !text.starts_with("//") {
            return match text.parse::<Uri>() {
                Ok(_) => Ok(Self {
                    origin: from.clone(),
                    path: text.to_owned(),
                }),
                Err(_) => refuse("which is no address"),
            };
        }
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("which is no address");
        };
        let Some(origin) = Origin::of_uri(&uri) else {
            return refuse("which is no address of https");
        };
        if origin.is_loopback() && !from.is_loopback() {
            return refuse("which is on this machine; that is not followed");
        }
        if !origin.is_https && !origin.is_loopback() {
            return refuse("without https; that is not followed");
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            path: path.to_owned(),
            origin,
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Returns why no request may go to an address; `None` when it may.
pub(super) fn forbidden(address: IpAddr) -> Option<&'static str> {
    let is_link_local = match plain(address) {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == METADATA,
    };
    let is_host = !address.is_unspecified() && !address.is_multicast();
    if is_link_local {
        Some("a link-local address, where clouds keep their machines' credentials")
    } else if !is_host || plain(address) == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("the address of no host")
    } else {
        None
    }
}

/// The address of Amazon's metadata service, which is not link-local.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

pub(super) fn is_loopback(address: IpAddr) -> bool {
    plain(address).is_loopback()
}

/// Returns the IPv4 address that an IPv6 address contains: mapped, or behind the well-known prefix
/// of NAT64.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let segments = v6.segments();
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [.., a, b, c, d] = v6.octets();
        return Ipv4Addr::new(a, b, c, d).into();
    }
    v6.to_ipv4_mapped().map_or(address, IpAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of_uri(&text.parse().expect("an address")).expect("http")
    }

    #[test]
    fn link_local_addresses_are_known_in_each_form() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let address = text.parse().expect("an address");
            assert!(forbidden(address).is_some(), "{text}");
        }
        for text in [
            "10.0.0.1",
            "127.0.0.1",
            "::1",
            "192.0.2.1",
            "fd00::1",
            "64:ff9b::a00:1",
        ] {
            let address = text.parse().expect("an address");
            assert!(forbidden(address).is_none(), "{text}");
        }
    }

    #[test]
    fn a_redirect_stays_in_https_and_does_not_lead_onto_this_machine() {
        let from = origin("https://ghcr.io");
        let read = |text: &str| Url::read(text, &from).map(|url| url.to_string());
        assert_eq!(
            read("/v2/a?x=1").expect("a path"),
            "https://ghcr.io/v2/a?x=1"
        );
        let far = "https://storage.example.com:8443/b?sig=1";
        assert_eq!(read(far).expect("an address"), far);
        for (text, why) in [
            ("http://storage.example.com/b", "without https"),
            ("http://127.0.0.1/b", "which is on this machine"),
            ("https://localhost/b", "which is on this machine"),
            ("https://[::1]/b", "which is on this machine"),
            ("ftp://ghcr.io/b", "which is no address of https"),
            ("//ghcr.io/b", "which is no address"),
            ("b", "which is no address"),
            ("", "which is no address"),
        ] {
            let problem = read(text).expect_err(text).to_string();
            assert!(problem.contains(why), "{text}: {problem}");
        }
        let local = origin("http://127.0.0.1:5000");
        let url = Url::read("http://127.0.0.1:5001/b", &local).expect("on the same machine");
        assert_eq!(url.origin.port, 5001);
    }

    #[test]
    fn docker_hub_has_another_server_than_its_references_say() {
        let hub: Host = "docker.io".parse().expect("a host");
        let origin = Origin::of_registry(&hub, true);
        assert_eq!(origin.to_string(), "https://registry-1.docker.io");
        let v6: Host = "[::1]:5000".parse().expect("a host");
        let origin = Origin::of_registry(&v6, false);
        assert!(origin.is_loopback());
        assert_eq!(origin.to_string(), "http://[::1]:5000");
    }
}
