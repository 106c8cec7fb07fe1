//! The forms of names, labels and addresses in Kubernetes (k8s.io/apimachinery `util/validation`,
//! k8s.io/utils `net`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Letters of a DNS label, and of the part of a qualified name behind the slash.
const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;
const MAX_PORT_NAME: usize = 15;

/// A DNS label of RFC 1123, such as `web-1`.
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL
        && is_framed(
            text,
            |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
            |c| c == '-',
        )
}

/// DNS labels with dots between them, such as `db.example.com`.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        is_framed(
            part,
            |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
            |c| c == '-',
        )
    };
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(part)
}

/// A key of a label or annotation, such as `app.kubernetes.io/name`.
pub(crate) fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

/// The value of a label.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

/// The name of a container's port.
pub(crate) fn is_port_name(text: &str) -> bool {
    text.len() <= MAX_PORT_NAME
        && is_framed(
            text,
            |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
            |c| c == '-',
        )
        && text.contains(|c: char| c.is_ascii_lowercase())
        && !text.contains("--")
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_framed(text, |c| c.is_ascii_alphanumeric(), |c| "-_.".contains(c))
}

/// Returns true if a text has inner characters only between outer ones.
fn is_framed(text: &str, outer: impl Fn(char) -> bool, inner: impl Fn(char) -> bool) -> bool {
    text.starts_with(&outer) && text.ends_with(&outer) && text.chars().all(|c| outer(c) || inner(c))
}

/// An address. Kubernetes before 1.36 takes leading zeros in IPv4.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text
            .parse::<Ipv6Addr>()
            .ok()
            .map(|address| address.to_canonical());
    }
    let octet = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| text.trim_start_matches('0'))
            .and_then(|text| {
                if text.is_empty() {
                    Some(0)
                } else {
                    text.parse().ok()
                }
            })
    };
    let octets: Option<Vec<u8>> = text.split('.').map(octet).collect();
    let octets: [u8; 4] = octets?.try_into().ok()?;
    Some(IpAddr::V4(Ipv4Addr::from(octets)))
}

/// A range in CIDR notation.
pub(crate) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let largest = if address.contains(':') { 128 } else { 32 };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    ip(address).is_some() && digits && length.parse::<u32>().is_ok_and(|length| length <= largest)
}

/// Returns the reason why an address can't be an external IP of a Service, if there is one.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    let link_local_multicast = match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    };
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if link_local_multicast => Some("a link-local multicast address"),
        IpAddr::V4(address) if address.is_link_local() => Some("a link-local address"),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_forms() {
        let long = "a".repeat(64);
        for (form, good, bad) in [
            (
                is_label as fn(&str) -> bool,
                ["a", "1a-b", "a--b"],
                ["", "Bad_Name", "a-", "a.b", &long],
            ),
            (
                is_subdomain,
                ["a", "a.b-c.1", &long],
                ["", "a..b", "A", ".a", "a."],
            ),
            (
                is_qualified,
                ["a_B.c", "x.y/A", "1"],
                ["", "/a", "a/b/c", "X/a", "-a"],
            ),
            (
                is_label_value,
                ["", "a_B.c", "1"],
                ["a b", "-a", "a.", "ä", &long],
            ),
            (
                is_port_name,
                ["http", "a-1", "8080x"],
                ["80", "a--b", "-a", "HTTP", "a123456789012345"],
            ),
        ] {
            assert!(good.iter().all(|text| form(text)), "{good:?}");
            assert!(bad.iter().all(|text| !form(text)), "{bad:?}");
        }
    }

    #[test]
    fn addresses_and_ranges() {
        for good in [
            "10.0.0.1",
            "010.0.0.01",
            "::1",
            "::ffff:1.2.3.4",
            "2001:db8::",
        ] {
            assert!(ip(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "1.2.3",
            "1.2.3.256",
            "1.2.3.4.5",
            "a",
            "fe80::1%eth0",
            "1.2.3.4/8",
            " 1.2.3.4",
            "1.2.3.-4",
        ] {
            assert!(ip(bad).is_none(), "{bad}");
        }
        assert!(
            ["10.0.0.0/8", "0.0.0.0/0", "::/0", "10.0.0.1/32"]
                .iter()
                .all(|text| is_cidr(text))
        );
        assert!(
            [
                "10.0.0.0",
                "10.0.0.0/33",
                "::/129",
                "10.0.0.0/",
                "10.0.0.0/+8",
                "x/8"
            ]
            .iter()
            .all(|text| !is_cidr(text))
        );
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(ip(text).and_then(special).is_some(), "{text}");
        }
        assert!(
            ["192.0.2.1", "224.0.1.1", "2001:db8::1"]
                .iter()
                .all(|text| ip(text).and_then(special).is_none())
        );
    }
}
