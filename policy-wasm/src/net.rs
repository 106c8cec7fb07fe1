//! IP addresses and CIDR blocks, parsed as strictly as Kubernetes 1.36 does.
//!
//! What parses in one library and not in another, or to another value, is how an allowlist is got around: octets with
//! leading zeros, IPv4 inside IPv6. Here an address that is written in such a way is compared by its canonical form, or does not
//! parse at all; and what does not parse is never allowed.

use std::collections::BinaryHeap;
use std::net::IpAddr;

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Whether the addresses are IPv6.
    is_v6: bool,
    first: u128,
    last: u128,
    /// Whether bits beyond the prefix were set, which a typo looks like.
    is_exact: bool,
}

/// An IP address, strictly: IPv4 in four decimal octets without leading zeros, IPv6 as in RFC 4291. IPv4 inside IPv6
/// (`::ffff:192.0.2.1`) is the IPv4 address.
///
/// ```
/// use sallyport_policy::net::parse_address;
///
/// assert_eq!(parse_address("::ffff:192.0.2.1"), parse_address("192.0.2.1"));
/// assert_eq!(parse_address("010.0.0.1"), None);
/// ```
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

impl Cidr {
    /// A block as `10.0.0.0/8`, or `None`.
    ///
    /// ```
    /// use sallyport_policy::net::{Cidr, parse_address};
    ///
    /// let block = Cidr::parse("2001:db8::/32").expect("a block");
    /// assert!(parse_address("2001:DB8::1").is_some_and(|address| block.contains(address)));
    /// assert_eq!(Cidr::parse("10.0.0.0"), None);
    /// assert_eq!(Cidr::parse("10.0.0.0/08"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let prefix = parse_prefix(prefix)?;
        let (is_v6, bits, prefix) = match address.parse().ok()? {
            IpAddr::V4(v4) => (false, u128::from(v4.to_bits()), prefix),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) if prefix >= 96 => (false, u128::from(v4.to_bits()), prefix - 96),
                _ => (true, v6.to_bits(), prefix),
            },
        };
        let width: u32 = if is_v6 { 128 } else { 32 };
        let hosts = match width.checked_sub(prefix)? {
            128 => u128::MAX,
            bits => (1 << bits) - 1,
        };
        Some(Self { is_v6, first: bits & !hosts, last: bits | hosts, is_exact: bits & hosts == 0 })
    }

    /// Whether it was written without bits beyond the prefix: `10.1.2.3/8` is not.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Whether an address lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (is_v6, bits) = match address.to_canonical() {
            IpAddr::V4(v4) => (false, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (true, v6.to_bits()),
        };
        is_v6 == self.is_v6 && self.first <= bits && bits <= self.last
    }

    /// Whether a whole block lies inside.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.first && other.last <= self.last
    }
}

/// Decimal digits without a leading zero.
fn parse_prefix(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// IPv6's global unicast addresses, `2000::/3`: all of the Internet that there is (RFC 4291; IANA has given out no other).
const GLOBAL_V6: (u128, u128) = (0x2 << 124, (0x4 << 124) - 1);
const ALL_V4: (u128, u128) = (0, u32::MAX as u128);

/// Whether blocks together hold more than half of all IPv4 addresses, or of IPv6's global ones. `0.0.0.0/0` does, and so do
/// `0.0.0.0/1` and `128.0.0.0/1`, or any finer split that leaves a few addresses out.
pub fn cover_the_world(blocks: &[Cidr]) -> bool {
    more_than_half(blocks, false, ALL_V4) || more_than_half(blocks, true, GLOBAL_V6)
}

fn more_than_half(blocks: &[Cidr], is_v6: bool, (from, to): (u128, u128)) -> bool {
    // A heap hands the blocks out in descending order; the library's sort is several times its size.
    let mut heap = BinaryHeap::with_capacity(blocks.len());
    for block in blocks {
        if block.is_v6 == is_v6 && block.last >= from && block.first <= to {
            heap.push((block.last.min(to), block.first.max(from)));
        }
    }
    let (mut covered, mut below) = (0, to + 1);
    while let Some((last, first)) = heap.pop() {
        let end = below.min(last + 1);
        if first < end {
            covered += end - first;
            below = first;
        }
    }
    covered > (to - from) / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| Cidr::parse(text).unwrap_or_else(|| panic!("{text}"))).collect()
    }

    fn address(text: &str) -> IpAddr {
        parse_address(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn sloppy_addresses_are_none() {
        for text in
            ["010.0.0.1", "10.1", "0x0a.0.0.1", "167772161", " 10.0.0.1", "10.0.0.1 ", "fe80::1%eth0", "", "::g"]
        {
            assert_eq!(parse_address(text), None, "{text:?}");
        }
        for text in
            ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08", "/8", "::/129", "10.0.0.0/8/8", "10.0.0.0/-1"]
        {
            assert_eq!(Cidr::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_compared_by_its_value_and_its_family() {
        let private = Cidr::parse("10.0.0.0/8").expect("a block");
        assert!(private.contains(address("10.255.255.255")) && private.contains(address("::ffff:10.0.0.1")));
        assert!(!private.contains(address("11.0.0.0")) && !private.contains(address("::a00:1")));
        let mapped = Cidr::parse("::ffff:10.0.0.0/104").expect("a block");
        assert!(mapped.covers(&private) && private.covers(&mapped));
        let everything = Cidr::parse("::/0").expect("a block");
        assert!(everything.contains(address("2001:db8::1")) && !everything.contains(address("10.0.0.1")));
        assert!(!Cidr::parse("10.1.2.3/8").expect("a block").is_exact());
    }

    #[test]
    fn half_of_the_world_is_not_the_world_and_more_is() {
        assert!(cover_the_world(&blocks(&["0.0.0.0/0"])));
        assert!(cover_the_world(&blocks(&["::/0"])));
        assert!(cover_the_world(&blocks(&["2000::/3"])));
        assert!(cover_the_world(&blocks(&["128.0.0.0/1", "0.0.0.0/1"])));
        assert!(cover_the_world(&blocks(&["::ffff:0.0.0.0/96"])));
        assert!(cover_the_world(&blocks(&["0.0.0.0/1", "10.0.0.0/8", "128.0.0.0/2", "192.0.0.0/3"])));
        assert!(!cover_the_world(&blocks(&["0.0.0.0/1"])));
        assert!(!cover_the_world(&blocks(&["0.0.0.0/1", "10.0.0.0/8", "0.0.0.0/1"])));
        assert!(!cover_the_world(&blocks(&["0.0.0.0/1", "2000::/4", "fc00::/7"])));
        assert!(!cover_the_world(&[]));
    }
}
