//! IP addresses and CIDR blocks, parsed as strictly as Kubernetes 1.36 does.
//!
//! What parses in one library and not in another, or to another value, is how an allowlist is got
//! around: octets with leading zeros, IPv4 inside IPv6. Here an address that is written in such a
//! way is compared by its canonical form, or does not parse at all; and what does not parse is
//! never allowed.

use std::collections::BinaryHeap;

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
    /// An address, strictly: IPv4 in four decimal octets without leading zeros, IPv6 as in RFC 4291
    /// without a zone. (What the standard library has for that accepts the same, and is 4 KiB of a
    /// component's 64.)
    ///
    /// ```
    /// use sallyport_policy::net::Address;
    ///
    /// assert_eq!(Address::parse("::ffff:192.0.2.1"), Address::parse("192.0.2.1"));
    /// assert_eq!(Address::parse("010.0.0.1"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self::written(text.as_bytes())?.canonical())
    }

    fn written(text: &[u8]) -> Option<Self> {
        match parse_v4(text) {
            Some(bits) => Some(Self {
                is_v6: false,
                bits: u128::from(bits),
            }),
            None => parse_v6(text).map(|bits| Self { is_v6: true, bits }),
        }
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

/// The first 96 bits of `::ffff:0.0.0.0/96`, IPv4 inside IPv6.
const MAPPED: u128 = 0xffff;

impl Cidr {
    /// A block as `10.0.0.0/8`, or `None`.
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
        let mut parts = text.as_bytes().split(|byte| *byte == b'/');
        let (Some(address), Some(prefix), None) = (parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        let written = Address::written(address)?;
        let width: u32 = if written.is_v6 { 128 } else { 32 };
        let free = width.checked_sub(decimal(prefix)?)?;
        // Of a block that reaches beyond IPv4 inside IPv6, nothing is IPv4.
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

    /// Whether it was written without bits beyond the prefix: `10.1.2.3/8` is not, as a typo would
    /// be.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Whether an address lies inside.
    pub fn contains(&self, address: Address) -> bool {
        address.is_v6 == self.is_v6 && self.first <= address.bits && address.bits <= self.last
    }

    /// Whether a whole block lies inside.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.first && other.last <= self.last
    }
}

/// One to three decimal digits without a leading zero.
fn decimal(digits: &[u8]) -> Option<u32> {
    let is_plain = matches!(digits, [_] | [b'1'..=b'9', _] | [b'1'..=b'9', _, _]);
    if is_plain { number(digits, 10) } else { None }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let mut number = 0;
    for digit in digits {
        number = number * radix + char::from(*digit).to_digit(radix)?;
    }
    Some(number)
}

fn parse_v4(text: &[u8]) -> Option<u32> {
    let (mut bits, mut octets) = (0, 0);
    for octet in text.split(|byte| *byte == b'.') {
        octets += 1;
        bits = bits << 8 | decimal(octet).filter(|octet| *octet < 256 && octets <= 4)?;
    }
    (octets == 4).then_some(bits)
}

/// Groups before the gap `::`, and those behind it.
fn parse_v6(text: &[u8]) -> Option<u128> {
    // At an end, the gap makes two empty groups of what is one elsewhere.
    let text = match text {
        b"" => return None,
        b"::" => return Some(0),
        [b':', rest @ ..] if rest.starts_with(b":") => rest,
        [rest @ .., b':'] if rest.ends_with(b":") => rest,
        [b':', ..] | [.., b':'] => return None,
        text => text,
    };
    let (mut head, mut bits, mut groups) = (None, 0_u128, 0);
    for group in text.split(|byte| *byte == b':') {
        if groups == 8 {
            return None;
        }
        match group {
            [] if head.is_none() => {
                head = Some((bits, groups));
                bits = 0;
            }
            [_] | [_, _] | [_, _, _] | [_, _, _, _] => {
                bits = bits << 16 | u128::from(number(group, 16)?);
                groups += 1;
            }
            // IPv4, which only the end may be.
            _ if group.as_ptr_range().end == text.as_ptr_range().end && groups <= 6 => {
                bits = bits << 32 | u128::from(parse_v4(group)?);
                groups += 2;
            }
            _ => return None,
        }
    }
    match head {
        None => (groups == 8).then_some(bits),
        Some((head, before)) if groups < 8 => {
            Some(u128::checked_shl(head, 128 - 16 * before).unwrap_or_default() | bits)
        }
        Some(_) => None,
    }
}

/// Whether blocks together hold a whole other block. Takes time proportional to the number of
/// blocks, times the number that it takes to cover the other one.
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

/// How much of a family's addresses some blocks hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// Half of them at most.
    Part,
    /// More than half.
    Most,
    /// Every one.
    All,
}

/// How much of all IPv4 addresses blocks hold together, and of IPv6's global ones, `2000::/3` (RFC
/// 4291; IANA has given out no other).
pub fn shares(blocks: &[Cidr]) -> (Share, Share) {
    (
        share(blocks, false, 0, u64::from(u32::MAX), 0),
        share(blocks, true, 0x2 << 60, (0x4 << 60) - 1, 64),
    )
}

/// Whether blocks together hold more than half of all IPv4 addresses, or of IPv6's global ones.
/// `0.0.0.0/0` does, and so do `0.0.0.0/1` and `128.0.0.0/1`, or any finer split that leaves a few
/// out.
pub fn cover_the_world(blocks: &[Cidr]) -> bool {
    let (v4, v6) = shares(blocks);
    v4.max(v6) > Share::Part
}

/// How much blocks of a family hold of a part of it. Addresses count without their last bits, whose
/// number is `fine`.
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
    use std::net::IpAddr;

    fn blocks(texts: &[&str]) -> Vec<Cidr> {
        texts
            .iter()
            .map(|text| Cidr::parse(text).unwrap_or_else(|| panic!("{text}")))
            .collect()
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    /// What the standard library makes of a text.
    fn expected(text: &str) -> Option<Address> {
        Some(match text.parse::<IpAddr>().ok()?.to_canonical() {
            IpAddr::V4(v4) => Address {
                is_v6: false,
                bits: u128::from(v4.to_bits()),
            },
            IpAddr::V6(v6) => Address {
                is_v6: true,
                bits: v6.to_bits(),
            },
        })
    }

    #[test]
    fn what_parses_is_what_the_standard_library_parses() {
        const PIECES: [&str; 16] = [
            "::",
            ":",
            "1",
            "0",
            "ffff",
            "12345",
            "abc",
            "A",
            "1.2.3.4",
            ".",
            "255",
            "256",
            "01",
            "g",
            "1:2:3",
            "0:0:0:0:0",
        ];
        let mut parsed = 0;
        for i in 0..PIECES.len().pow(4) {
            let text: String = (0..4)
                .map(|place| PIECES[i / PIECES.len().pow(place) % PIECES.len()])
                .collect();
            assert_eq!(Address::parse(&text), expected(&text), "{text:?}");
            parsed += usize::from(Address::parse(&text).is_some());
        }
        assert!(parsed > 1000, "{parsed}");
        for text in [
            "",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::1.2.3.4",
            "1.2.3.4::",
            "1:::2",
            ":1::2",
            "1.2.3.4",
            "1.2.3.4.5",
            "1.2.3",
            "::ffff:1.2.3.4",
        ] {
            assert_eq!(Address::parse(text), expected(text), "{text:?}");
        }
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
