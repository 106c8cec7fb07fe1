//! The functions of lists.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::order::order;
use crate::value::{List, Value};
use alloc::format;
use alloc::vec::Vec;
use core::cmp::Ordering;

fn elements<'a>(list: &List<'a>, budget: &Budget) -> Result<Vec<Value<'a>>, EvalError> {
    budget.spend_bytes(list.len() * size_of::<Value<'_>>())?;
    Ok(list.to_vec())
}

pub(crate) fn is_sorted(list: &List<'_>, budget: &Budget) -> Result<bool, EvalError> {
    let elements = elements(list, budget)?;
    for pair in elements.windows(2) {
        budget.spend(1)?;
        pair[0].spend_order(&pair[1], budget)?;
        // As in cel-go, elements without an order don't count.
        if pair[0].compare(&pair[1]) == Ok(Ordering::Greater) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the smallest element, or the largest one.
pub(crate) fn extreme<'a>(
    name: &str,
    list: &List<'a>,
    wanted: Ordering,
    budget: &Budget,
) -> Result<Value<'a>, EvalError> {
    let mut best: Option<Value<'a>> = None;
    for element in elements(list, budget)? {
        budget.spend(1)?;
        if !element.is_comparable() {
            return Err(EvalError::no_such_overload());
        }
        if let Some(best) = &best {
            element.spend_order(best, budget)?;
        }
        best = match best {
            Some(best) if element.compare(&best) != Ok(wanted) => Some(best),
            _ => Some(element),
        };
    }
    best.ok_or_else(|| EvalError::of(format!("{name} called on empty list")))
}

pub(crate) fn index_of(
    list: &List<'_>,
    wanted: &Value<'_>,
    is_last: bool,
    budget: &Budget,
) -> Result<i64, EvalError> {
    let mut found = -1;
    let mut index = 0;
    list.each(&mut |element| {
        if (found < 0 || is_last) && is_equal(&element, wanted, budget)? {
            found = index;
        }
        index += 1;
        Ok(())
    })?;
    Ok(found)
}

/// Returns whether two values are equal. Values that can't be compared are not.
pub(crate) fn is_equal(a: &Value<'_>, b: &Value<'_>, budget: &Budget) -> Result<bool, EvalError> {
    match a.equals(b, budget) {
        Err(error) if !error.is_fatal() => Ok(false),
        equal => equal,
    }
}

/// Returns whether a list has an element that equals a value.
pub(crate) fn contains(
    list: &List<'_>,
    wanted: &Value<'_>,
    budget: &Budget,
) -> Result<bool, EvalError> {
    match list {
        List::Json(node) => {
            for element in node.elements() {
                if is_equal(wanted, &Value::from(element), budget)? {
                    return Ok(true);
                }
            }
        }
        List::Values(values) => return any_equal(values, wanted, budget),
        List::Borrowed(values) => return any_equal(values, wanted, budget),
    }
    Ok(false)
}

fn any_equal(values: &[Value<'_>], wanted: &Value<'_>, budget: &Budget) -> Result<bool, EvalError> {
    for element in values {
        if is_equal(wanted, element, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether a list has all elements of another one.
pub(crate) fn contains_all(
    list: &List<'_>,
    sublist: &List<'_>,
    budget: &Budget,
) -> Result<bool, EvalError> {
    for element in elements(sublist, budget)? {
        if !contains(list, &element, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) fn intersects(a: &List<'_>, b: &List<'_>, budget: &Budget) -> Result<bool, EvalError> {
    for element in elements(a, budget)? {
        if contains(b, &element, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn slice<'a>(
    list: &List<'a>,
    start: i64,
    end: i64,
    budget: &Budget,
) -> Result<Value<'a>, EvalError> {
    let refuse = |problem: &str| EvalError::of(format!("cannot slice({start}, {end}), {problem}"));
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
        return Err(refuse("negative indexes not supported"));
    };
    if from > to {
        return Err(refuse(
            "start index must be less than or equal to end index",
        ));
    }
    if list.len() < to {
        return Err(refuse(&format!("list is length {}", list.len())));
    }
    Ok(elements(list, budget)?[from..to].to_vec().into())
}

pub(crate) fn flatten<'a>(
    list: &List<'a>,
    depth: i64,
    budget: &Budget,
) -> Result<Value<'a>, EvalError> {
    if depth < 0 {
        return Err(EvalError::of("level must be non-negative"));
    }
    let mut out = Vec::new();
    flatten_into(list, depth, &mut out, budget)?;
    Ok(out.into())
}

fn flatten_into<'a>(
    list: &List<'a>,
    depth: i64,
    out: &mut Vec<Value<'a>>,
    budget: &Budget,
) -> Result<(), EvalError> {
    let _deeper = budget.enter()?;
    for element in elements(list, budget)? {
        match &element {
            Value::List(nested) if depth > 0 => flatten_into(nested, depth - 1, out, budget)?,
            _ => {
                budget.spend_bytes(size_of::<Value<'_>>())?;
                out.push(element);
            }
        }
    }
    Ok(())
}

pub(crate) fn reverse<'a>(list: &List<'a>, budget: &Budget) -> Result<Value<'a>, EvalError> {
    let mut elements = elements(list, budget)?;
    elements.reverse();
    Ok(elements.into())
}

pub(crate) fn distinct<'a>(list: &List<'a>, budget: &Budget) -> Result<Value<'a>, EvalError> {
    let mut out: Vec<Value<'a>> = Vec::new();
    for element in elements(list, budget)? {
        let mut is_new = true;
        for known in &out {
            if is_equal(&element, known, budget)? {
                is_new = false;
                break;
            }
        }
        if is_new {
            out.push(element);
        }
    }
    Ok(out.into())
}

pub(crate) fn range<'a>(end: i64, budget: &Budget) -> Result<Value<'a>, EvalError> {
    let count = usize::try_from(end).unwrap_or(0);
    budget.spend_bytes(count.saturating_mul(size_of::<Value<'_>>()))?;
    Ok((0..end).map(Value::Int).collect::<Vec<_>>().into())
}

/// Sorts a list by keys that belong to its elements.
pub(crate) fn sort_by<'a>(
    list: &List<'a>,
    keys: &List<'a>,
    budget: &Budget,
) -> Result<Value<'a>, EvalError> {
    let keys = elements(keys, budget)?;
    let Some(first) = keys.first() else {
        return Ok(Value::List(list.clone()));
    };
    if !first.is_comparable() {
        return Err(EvalError::of("list elements must be comparable"));
    }
    if keys.iter().any(|key| key.type_name() != first.type_name()) {
        return Err(EvalError::of("list elements must have the same type"));
    }
    // A sort compares each element about log2(n) times.
    let comparisons = keys.len() as u64 * u64::from(usize::BITS - keys.len().leading_zeros());
    let length: usize = keys.iter().map(key_bytes).sum();
    budget.spend(2 * comparisons)?;
    budget.spend_bytes(length.saturating_mul(4))?;
    let elements = elements(list, budget)?;
    let order = order(keys.len(), &mut |a, b| {
        keys[a].compare(&keys[b]).unwrap_or(Ordering::Equal)
    });
    let sorted = order
        .into_iter()
        .filter_map(|index| elements.get(index).cloned());
    Ok(sorted.collect::<Vec<_>>().into())
}

fn key_bytes(key: &Value<'_>) -> usize {
    match key {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

/// Adds the elements. An empty list of an unknown type has the sum 0.
pub(crate) fn sum<'a>(list: &List<'a>, budget: &Budget) -> Result<Value<'a>, EvalError> {
    let mut total: Option<Value<'a>> = None;
    for element in elements(list, budget)? {
        budget.spend(1)?;
        total = Some(match (total, element) {
            (
                None,
                value @ (Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_)),
            ) => value,
            (Some(total), element) => super::arithmetic::add(&total, &element, budget)?,
            (None, _) => return Err(EvalError::no_such_overload()),
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}
