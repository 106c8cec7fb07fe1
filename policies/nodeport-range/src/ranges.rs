//! Sets of ports: what may be used, told in the way that people write it.

use sallyport_policy::SettingsError;
use sallyport_policy::review::PortRange;
use std::fmt;

/// Ranges in ascending order that neither overlap nor touch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranges(Vec<PortRange>);

impl Ranges {
    /// The union of ranges as settings write them.
    pub(crate) fn parse(path: &str, written: &[PortRange]) -> Result<Self, Vec<SettingsError>> {
        let errors: Vec<_> = written
            .iter()
            .enumerate()
            .filter_map(|(i, range)| refuse(&format!("{path}[{i}]"), range))
            .collect();
        if errors.is_empty() {
            Ok(Self::union(written))
        } else {
            Err(errors)
        }
    }

    /// Takes ranges in one by one, each swallowing what it overlaps or touches. (The standard
    /// library's sort would be a tenth of the component.)
    fn union(ranges: &[PortRange]) -> Self {
        let mut union: Vec<PortRange> = vec![];
        for range in ranges {
            let mut range = *range;
            union.retain(|other| {
                let apart = other.to.saturating_add(1) < range.from
                    || range.to.saturating_add(1) < other.from;
                if !apart {
                    range = PortRange {
                        from: range.from.min(other.from),
                        to: range.to.max(other.to),
                    };
                }
                apart
            });
            let place = union
                .iter()
                .take_while(|other| other.from < range.from)
                .count();
            union.insert(place, range);
        }
        Self(union)
    }

    /// Returns these ranges without the ports of other ranges.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = self.0.clone();
        for cut in &other.0 {
            left = left
                .into_iter()
                .flat_map(|range| subtract(range, cut))
                .collect();
        }
        Self(left)
    }

    /// Returns these ranges without the ports outside one range.
    pub(crate) fn within(&self, bounds: PortRange) -> Self {
        let clip = |range: &PortRange| PortRange {
            from: range.from.max(bounds.from),
            to: range.to.min(bounds.to),
        };
        Self(
            self.0
                .iter()
                .map(clip)
                .filter(|range| range.from <= range.to)
                .collect(),
        )
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `None` if the ranges are empty.
    pub(crate) fn some(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    pub(crate) fn contains(&self, port: i32) -> bool {
        self.0.iter().any(|range| Self::contains_in(*range, port))
    }

    /// Returns true if a range contains a port.
    pub(crate) fn contains_in(range: PortRange, port: i32) -> bool {
        (i32::from(range.from)..=i32::from(range.to)).contains(&port)
    }

    /// Returns true if these ranges contain every port of another one.
    pub(crate) fn covers(&self, other: PortRange) -> bool {
        self.0
            .iter()
            .any(|range| range.from <= other.from && other.to <= range.to)
    }
}

fn refuse(path: &str, range: &PortRange) -> Option<SettingsError> {
    let (from, to) = (range.from, range.to);
    if from == 0 {
        return Some(SettingsError::new(
            format!("{path}.from"),
            "0 is no port; use 1 to 65535",
        ));
    }
    (from > to).then(|| {
        SettingsError::new(
            path,
            format!("{from}-{to} is no range: from is above to; swap them"),
        )
    })
}

fn subtract(range: PortRange, cut: &PortRange) -> Vec<PortRange> {
    if cut.to < range.from || range.to < cut.from {
        return vec![range];
    }
    let below = (cut.from > range.from).then(|| PortRange {
        from: range.from,
        to: cut.from - 1,
    });
    let above = (cut.to < range.to).then(|| PortRange {
        from: cut.to + 1,
        to: range.to,
    });
    below.into_iter().chain(above).collect()
}

/// `30000-30085, 31000`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            if range.from == range.to {
                write!(f, "{separator}{}", range.from)?;
            } else {
                write!(f, "{separator}{}-{}", range.from, range.to)?;
            }
        }
        Ok(())
    }
}

/// The static band of a cluster's node-port range: the API server allocates from above it
/// (KEP-3668). None for a range of at most 16 ports.
pub(crate) fn static_band(cluster: PortRange) -> Option<PortRange> {
    let size = u32::from(cluster.to) - u32::from(cluster.from) + 1;
    if size <= 16 {
        return None;
    }
    let offset = u16::try_from((size / 32).clamp(16, 128)).ok()?;
    Some(PortRange {
        from: cluster.from,
        to: cluster.from + offset - 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(written: &[(u16, u16)]) -> Ranges {
        let written: Vec<_> = written
            .iter()
            .map(|&(from, to)| PortRange { from, to })
            .collect();
        Ranges::parse("ranges", &written).unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    #[test]
    fn overlapping_and_touching_ranges_are_their_union() {
        assert_eq!(
            ranges(&[(5, 9), (1, 3), (4, 4), (8, 12), (20, 20)]).to_string(),
            "1-12, 20"
        );
        assert_eq!(ranges(&[(1, 65535), (65535, 65535)]).to_string(), "1-65535");
    }

    #[test]
    fn reserved_ports_are_cut_out() {
        let left = ranges(&[(1, 10), (20, 30)]).without(&ranges(&[(5, 6), (1, 1), (25, 40)]));
        assert_eq!(left.to_string(), "2-4, 7-10, 20-24");
        assert!(ranges(&[(5, 6)]).without(&ranges(&[(1, 9)])).is_empty());
    }

    #[test]
    fn the_static_band_follows_kep_3668() {
        let band = |from, to| static_band(PortRange { from, to }).map(|band| (band.from, band.to));
        assert_eq!(band(30000, 32767), Some((30000, 30085)));
        assert_eq!(band(30000, 30015), None);
        assert_eq!(band(30000, 30016), Some((30000, 30015)));
        assert_eq!(band(1, 65535), Some((1, 128)));
    }
}
