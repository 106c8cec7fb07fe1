//! IP addresses and CIDR blocks, parsed as strictly as Kubernetes 1.36 does.
//!
//! An allowlist is got around with addresses that one library refuses and another parses, or parses
//! to another value: octets with leading zeros, IPv4 inside IPv6. Here such an address is compared
//! by its canonical form, or does not parse at all; what does not parse is never allowed.

use std::collections::BinaryHeap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address. IPv4 inside IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    is_v6: bool,
    bits: u128,
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    is_v6: bool,
    first: u128,
    last: u128,
    is_exact: bool,
}

impl Address {
    /// Parses an address strictly: IPv4 in four decimal octets without leading zeros, IPv6 as in
    /// RFC 4291 without a zone.
    ///
    /// ```
    /// use sallyport_policy::net::Address;
    ///
    /// assert_eq!(Address::parse("::ffff:192.0.2.1"), Address::parse("192.0.2.1"));
    /// assert_eq!(Address::parse("010.0.0.1"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self::written(text)?.canonical())
    }

    /// Returns true for an address of IPv6.
    pub fn is_v6(&self) -> bool {
        self.is_v6
    }

    fn written(text: &str) -> Option<Self> {
        Some(match text.parse().ok()? {
            IpAddr::V4(v4) => Self {
                is_v6: false,
                bits: u128::from(v4.to_bits()),
            },
            IpAddr::V6(v6) => Self {
                is_v6: true,
                bits: v6.to_bits(),
            },
        })
    }

    fn canonical(self) -> Self {
        if self.is_v6 && self.bits >> 32 == MAPPED {
            Self {
                is_v6: false,
                bits: self.bits & 0xffff_ffff,
            }
        } else {
            self
        }
    }
}

impl fmt::Display for Address {
    /// Writes the canonical form (RFC 5952 for IPv6): one text for each address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_v6 {
            Ipv6Addr::from_bits(self.bits).fmt(f)
        } else {
            Ipv4Addr::from_bits(self.bits as u32).fmt(f)
        }
    }
}

/// The first 96 bits of `::ffff:0.0.0.0/96`, IPv4 inside IPv6.
const MAPPED: u128 = 0xffff;

impl Cidr {
    /// Parses a block such as `10.0.0.0/8`.
    ///
    /// ```
    /// use sallyport_policy::net::{Address, Cidr};
    ///
    /// let block = Cidr::parse("2001:db8::/32").expect("a block");
    /// assert!(Address::parse("2001:DB8::1").is_some_and(|address| block.contains(address)));
    /// assert_eq!(Cidr::parse("10.0.0.0"), None);
    /// assert_eq!(Cidr::parse("10.0.0.0/08"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let written = Address::written(address)?;
        let width: u32 = if written.is_v6 { 128 } else { 32 };
        let free = width.checked_sub(prefix_length(prefix)?)?;
        // A block that reaches beyond IPv4 inside IPv6 is IPv6.
        let Address { is_v6, bits } = if free <= 32 {
            written.canonical()
        } else {
            written
        };
        let hosts = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
        Some(Self {
            is_v6,
            first: bits & !hosts,
            last: bits | hosts,
            is_exact: bits & hosts == 0,
        })
    }

    /// Parses a range of addresses with both its ends, as pools of load balancers name them:
    /// `192.0.2.240-192.0.2.250`.
    ///
    /// ```
    /// use sallyport_policy::net::{Address, Cidr};
    ///
    /// let pool = Cidr::range("192.0.2.240-192.0.2.250").expect("a range");
    /// assert!(Address::parse("192.0.2.250").is_some_and(|address| pool.contains(address)));
    /// assert!(Address::parse("192.0.2.251").is_some_and(|address| !pool.contains(address)));
    /// assert_eq!(Cidr::range("192.0.2.250-192.0.2.240"), None);
    /// ```
    pub fn range(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let first = Address::parse(first.trim_ascii())?;
        let last = Address::parse(last.trim_ascii())?;
        let is_range = first.is_v6 == last.is_v6 && first.bits <= last.bits;
        is_range.then_some(Self {
            is_v6: first.is_v6,
            first: first.bits,
            last: last.bits,
            is_exact: true,
        })
    }

    /// Returns true for a block of IPv6.
    pub fn is_v6(&self) -> bool {
        self.is_v6
    }

    /// Returns true if the text has no bits beyond the prefix. `10.1.2.3/8` has, which is probably
    /// a typo.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Returns true if an address lies inside.
    pub fn contains(&self, address: Address) -> bool {
        address.is_v6 == self.is_v6 && self.first <= address.bits && address.bits <= self.last
    }

    /// Returns true if a whole block lies inside.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.first && other.last <= self.last
    }
}

/// Parses a number without a sign or a leading zero.
fn prefix_length(digits: &str) -> Option<u32> {
    let is_plain = digits == "0" || digits.starts_with(|first| matches!(first, '1'..='9'));
    digits.parse().ok().filter(|_| is_plain)
}

/// Returns true if blocks together contain another block. Takes time proportional to the number of
/// blocks, times the number of them that it takes to cover the other one.
pub fn together_cover(blocks: &[Cidr], other: &Cidr) -> bool {
    let mut next = other.first;
    loop {
        let mut last = None;
        for block in blocks {
            if block.is_v6 == other.is_v6 && block.first <= next && next <= block.last {
                last = last.max(Some(block.last));
            }
        }
        match last {
            None => return false,
            Some(last) if last >= other.last => return true,
            Some(last) => next = last + 1,
        }
    }
}

/// The share of a family's addresses that some blocks contain together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// Half of them at most.
    Part,
    /// More than half.
    Most,
    /// Every one.
    All,
}

/// Returns the share of all IPv4 addresses that blocks contain together, and of IPv6's global ones,
/// `2000::/3` (RFC 4291; IANA has assigned no others).
pub fn shares(blocks: &[Cidr]) -> (Share, Share) {
    (
        share(blocks, false, 0, u64::from(u32::MAX), 0),
        share(blocks, true, 0x2 << 60, (0x4 << 60) - 1, 64),
    )
}

/// Returns true if blocks together contain more than half of all IPv4 addresses, or of IPv6's
/// global ones. `0.0.0.0/0` does, and so do `0.0.0.0/1` and `128.0.0.0/1`, or any finer split that
/// leaves a few out.
pub fn cover_the_world(blocks: &[Cidr]) -> bool {
    let (v4, v6) = shares(blocks);
    v4.max(v6) > Share::Part
}

/// Returns the share of a range that blocks of a family contain. Addresses are compared without
/// their last `fine` bits.
fn share(blocks: &[Cidr], is_v6: bool, from: u64, to: u64, fine: u32) -> Share {
    // A heap hands the blocks out in descending order; the library's sort is several times its
    // size.
    let mut heap = BinaryHeap::with_capacity(blocks.len());
    for block in blocks {
        let (first, last) = ((block.first >> fine) as u64, (block.last >> fine) as u64);
        if block.is_v6 == is_v6 && last >= from && first <= to {
            heap.push((last.min(to), first.max(from)));
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
    match covered {
        covered if covered > to - from => Share::All,
        covered if covered > (to - from) / 2 + 1 => Share::Most,
        _ => Share::Part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(texts: &[&str]) -> Vec<Cidr> {
        texts
            .iter()
            .map(|text| Cidr::parse(text).unwrap_or_else(|| panic!("{text}")))
            .collect()
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn sloppy_addresses_are_none() {
        for text in [
            "010.0.0.1",
            "10.1",
            "0x0a.0.0.1",
            "167772161",
            " 10.0.0.1",
            "10.0.0.1 ",
            "fe80::1%eth0",
            "",
            "::g",
        ] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
        for text in [
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "/8",
            "::/129",
            "10.0.0.0/8/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_compared_by_its_value_and_its_family() {
        let private = Cidr::parse("10.0.0.0/8").expect("a block");
        assert!(
            private.contains(address("10.255.255.255"))
                && private.contains(address("::ffff:10.0.0.1"))
        );
        assert!(!private.contains(address("11.0.0.0")) && !private.contains(address("::a00:1")));
        let mapped = Cidr::parse("::ffff:10.0.0.0/104").expect("a block");
        assert!(mapped.covers(&private) && private.covers(&mapped));
        let everything = Cidr::parse("::/0").expect("a block");
        assert!(
            everything.contains(address("2001:db8::1"))
                && !everything.contains(address("10.0.0.1"))
        );
        assert!(!Cidr::parse("10.1.2.3/8").expect("a block").is_exact());
    }

    #[test]
    fn a_range_has_both_its_ends_and_one_family() {
        let range = Cidr::range("2001:db8::1 - 2001:DB8::ff").expect("a range");
        assert!(range.contains(address("2001:db8::1")) && range.contains(address("2001:db8::ff")));
        assert!(
            !range.contains(address("2001:db8::")) && !range.contains(address("2001:db8::100"))
        );
        assert!(Cidr::range("10.0.0.1-10.0.0.1").is_some());
        for text in [
            "10.0.0.2-10.0.0.1",
            "10.0.0.1-2001:db8::1",
            "10.0.0.1-20",
            "10.0.0.1",
            "10.0.0.0/8-10.0.0.1",
            "010.0.0.1-10.0.0.2",
            "10.0.0.1-10.0.0.2-10.0.0.3",
            "-",
        ] {
            assert_eq!(Cidr::range(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_has_one_canonical_text() {
        for (text, canonical) in [
            ("2001:0DB8:0::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(address(text).to_string(), canonical);
        }
    }

    #[test]
    fn blocks_together_cover_what_none_of_them_does() {
        let parts = blocks(&["10.128.0.0/9", "2001:db8::/32", "10.0.0.0/9", "10.1.0.0/16"]);
        for (text, covered) in [
            ("10.0.0.0/8", true),
            ("10.200.0.0/16", true),
            ("9.0.0.0/7", false),
            ("11.0.0.0/32", false),
            ("2001:db8:1::/48", true),
            ("2001:db9::/32", false),
            ("::a00:0/120", false),
            ("0.0.0.0/0", false),
        ] {
            assert_eq!(
                together_cover(&parts, &Cidr::parse(text).expect("a block")),
                covered,
                "{text}"
            );
        }
        assert!(!together_cover(
            &[],
            &Cidr::parse("::/128").expect("a block")
        ));
        assert!(together_cover(
            &blocks(&["::/0"]),
            &Cidr::parse("::/0").expect("a block")
        ));
    }

    #[test]
    fn half_of_the_world_is_not_the_world_and_more_is() {
        assert!(cover_the_world(&blocks(&["0.0.0.0/0"])));
        assert!(cover_the_world(&blocks(&["::/0"])));
        assert!(cover_the_world(&blocks(&["2000::/3"])));
        assert!(cover_the_world(&blocks(&["128.0.0.0/1", "0.0.0.0/1"])));
        assert!(cover_the_world(&blocks(&["::ffff:0.0.0.0/96"])));
        assert!(cover_the_world(&blocks(&[
            "0.0.0.0/1",
            "10.0.0.0/8",
            "128.0.0.0/2",
            "192.0.0.0/3"
        ])));
        assert!(!cover_the_world(&blocks(&["0.0.0.0/1"])));
        assert!(!cover_the_world(&blocks(&[
            "0.0.0.0/1",
            "10.0.0.0/8",
            "0.0.0.0/1"
        ])));
        assert!(!cover_the_world(&blocks(&[
            "0.0.0.0/1",
            "2000::/4",
            "fc00::/7"
        ])));
        assert!(!cover_the_world(&[]));
        assert_eq!(
            shares(&blocks(&["0.0.0.0/1", "128.0.0.0/1"])),
            (Share::All, Share::Part)
        );
        assert_eq!(
            shares(&blocks(&["0.0.0.0/1", "128.0.0.0/2", "::/0"])),
            (Share::Most, Share::All)
        );
    }
}
