//! The known name that somebody may have meant.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// Returns the known name that is nearest to a name, if it is near.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<String> {
    let near = known
        .filter(|known| known.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map(|known| (distance(name, known), known))
        .min()?;
    (near.0 <= 2 && near.0 * 2 < name.len()).then(|| near.1.to_string())
}

/// Counts the letters to change, add or take off, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = before + usize::from(!x.eq_ignore_ascii_case(y));
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned as _;

    #[test]
    fn the_nearest_name_is_near() {
        let known = || ["startsWith", "size", "nodePort"].into_iter();
        assert_eq!(nearest("startWith", known()), Some("startsWith".to_owned()));
        assert_eq!(nearest("nodeport", known()), Some("nodePort".to_owned()));
        assert_eq!(nearest("replicas", known()), None);
    }
}
