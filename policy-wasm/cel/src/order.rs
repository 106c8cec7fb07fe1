//! A sort that is compiled once, for all types.
//!
//! The standard library's sorts are compiled for each type, at 3 to 8 KiB.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// Returns the indexes of `count` elements in their order. Equal elements keep theirs.
pub(crate) fn order(count: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut merged = Vec::with_capacity(count);
    let mut width = 1;
    while width < count {
        merged.clear();
        for start in (0..count).step_by(2 * width) {
            let middle = (start + width).min(count);
            let end = (start + 2 * width).min(count);
            let (mut left, mut right) = (start, middle);
            while left < middle || right < end {
                let takes_left =
                    right == end || left < middle && compare(order[left], order[right]).is_le();
                let next = if takes_left { &mut left } else { &mut right };
                merged.push(order[*next]);
                *next += 1;
            }
        }
        core::mem::swap(&mut order, &mut merged);
        width *= 2;
    }
    order
}

/// Returns the elements in their order.
pub(crate) fn sorted<T: Clone + Ord>(elements: &[T]) -> Vec<T> {
    let order = order(elements.len(), &mut |a, b| elements[a].cmp(&elements[b]));
    order
        .into_iter()
        .map(|index| elements[index].clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_is_stable_and_complete() {
        for count in 0..70 {
            let elements: Vec<_> = (0..count).map(|i| (i * 7919 % 13, i)).collect();
            let mut expected = elements.clone();
            expected.sort();
            assert_eq!(sorted(&elements), expected);
            let by_key = order(count, &mut |a, b| elements[a].0.cmp(&elements[b].0));
            let mut stable = elements.clone();
            stable.sort_by_key(|(key, _)| *key);
            let found: Vec<_> = by_key.into_iter().map(|index| elements[index]).collect();
            assert_eq!(found, stable);
        }
    }
}
