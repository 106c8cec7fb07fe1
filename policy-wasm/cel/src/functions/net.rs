//! IP addresses and CIDR blocks, as Kubernetes' CEL reads them with Go's `netip`: without zones,
//! without IPv4-mapped IPv6 addresses, without leading zeros.

use super::netip;
use crate::error::EvalError;
use alloc::format;
use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A CIDR block, which may have bits behind its prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

/// Reads an address.
pub(crate) fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    if let Some((address, zone)) = text.split_once('%') {
        let is_zone = !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok();
        return Err(if is_zone {
            EvalError::of(format!(
                "IP address {text:?} with zone value is not allowed"
            ))
        } else {
            parse_error(text)
        });
    }
    let address: IpAddr = text.parse().map_err(|_| parse_error(text))?;
    if is_mapped(address) {
        return Err(EvalError::of(format!(
            "IPv4-mapped IPv6 address {text:?} is not allowed"
        )));
    }
    Ok(address)
}

fn parse_error(text: &str) -> EvalError {
    EvalError::of(format!(
        "IP Address {text:?} parse error during conversion from string: {}",
        netip::problem(text)
    ))
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// Writes an address in its canonical form.
pub(crate) fn ip_text(address: IpAddr) -> String {
    format!("{address}")
}

/// A property of an address.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Unspecified,
    Loopback,
    LinkLocalMulticast,
    LinkLocalUnicast,
    GlobalUnicast,
}

/// Returns whether an address has a property, as Go's `netip.Addr` defines it.
pub(crate) fn is(address: IpAddr, kind: Kind) -> bool {
    match (kind, address) {
        (Kind::Unspecified, address) => address.is_unspecified(),
        (Kind::Loopback, address) => address.is_loopback(),
        (Kind::LinkLocalMulticast, IpAddr::V4(address)) => address.octets()[..3] == [224, 0, 0],
        (Kind::LinkLocalMulticast, IpAddr::V6(address)) => address.segments()[0] & 0xff0f == 0xff02,
        (Kind::LinkLocalUnicast, IpAddr::V4(address)) => address.is_link_local(),
        (Kind::LinkLocalUnicast, IpAddr::V6(address)) => address.is_unicast_link_local(),
        (Kind::GlobalUnicast, address) => {
            !(address.is_unspecified()
                || address == IpAddr::V4(Ipv4Addr::BROADCAST)
                || address.is_loopback()
                || address.is_multicast()
                || is(address, Kind::LinkLocalUnicast))
        }
    }
}

impl Cidr {
    /// Reads a block: `10.0.0.0/8`.
    pub(crate) fn parse(text: &str) -> Result<Self, EvalError> {
        let error = |problem: &str| {
            EvalError::of(format!(
                "network address parse error during conversion from string: network address parse \
                 error during conversion from string: netip.ParsePrefix({text:?}): {problem}"
            ))
        };
        let (address, bits) = text.rsplit_once('/').ok_or_else(|| error("no '/'"))?;
        let address: IpAddr = address
            .parse()
            .map_err(|_| error(&netip::problem(address)))?;
        let is_number = !bits.is_empty()
            && bits.bytes().all(|byte| byte.is_ascii_digit())
            && (bits.len() == 1 || !bits.starts_with('0'));
        if !is_number {
            return Err(error(&format!("bad bits after slash: {bits:?}")));
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse::<u8>().ok().filter(|bits| *bits <= most);
        let bits = bits.ok_or_else(|| error("prefix length out of range"))?;
        if is_mapped(address) {
            return Err(EvalError::of(format!(
                "network address parse error during conversion from string: IPv4-mapped IPv6 \
                 address {text:?} is not allowed"
            )));
        }
        Ok(Self { address, bits })
    }

    /// Returns the address as it was written.
    pub(crate) fn address(self) -> IpAddr {
        self.address
    }

    /// Returns the length of the prefix.
    pub(crate) fn bits(self) -> u8 {
        self.bits
    }

    /// Clears the bits behind the prefix.
    pub(crate) fn masked(self) -> Self {
        Self {
            address: mask(self.address, self.bits),
            bits: self.bits,
        }
    }

    /// Returns whether an address lies in the block.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && mask(self.address, self.bits) == mask(address, self.bits)
    }

    /// Returns whether another block lies in this one.
    pub(crate) fn contains_block(self, other: Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }

    /// Writes the block.
    pub(crate) fn text(self) -> String {
        format!("{}/{}", self.address, self.bits)
    }
}

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_contain_what_they_should() {
        let block = |text| Cidr::parse(text).expect("valid");
        let ip = |text| parse_ip(text).expect("valid");
        assert!(block("10.0.0.0/8").contains(ip("10.255.0.1")));
        assert!(!block("10.0.0.0/8").contains(ip("11.0.0.1")));
        assert!(block("0.0.0.0/0").contains(ip("11.0.0.1")));
        assert!(!block("0.0.0.0/0").contains(ip("::1")));
        assert!(block("2001:db8::/32").contains(ip("2001:db8::1")));
        assert!(block("10.0.0.0/8").contains_block(block("10.1.0.0/16")));
        assert!(!block("10.1.0.0/16").contains_block(block("10.0.0.0/8")));
        assert_eq!(block("10.1.2.3/8").masked().text(), "10.0.0.0/8");
    }

    #[test]
    fn what_kubernetes_refuses_is_refused() {
        for text in [
            "",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.256",
            "::ffff:1.2.3.4",
            "fe80::1%eth0",
            ":::1",
        ] {
            assert!(parse_ip(text).is_err(), "{text}");
        }
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "::/129",
            "::ffff:1.2.3.4/96",
            "/8",
        ] {
            assert!(Cidr::parse(text).is_err(), "{text}");
        }
    }
}
