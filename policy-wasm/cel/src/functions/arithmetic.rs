//! The operators of numbers, texts, lists, timestamps and durations. An overflow is an error.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::shared::Shared;
use crate::value::{List, Value};
use alloc::string::String;
use alloc::vec::Vec;

fn int(result: Option<i64>) -> Result<Value<'static>, EvalError> {
    result
        .map(Value::Int)
        .ok_or_else(|| EvalError::of("integer overflow"))
}

fn uint(result: Option<u64>) -> Result<Value<'static>, EvalError> {
    result
        .map(Value::Uint)
        .ok_or_else(|| EvalError::of("unsigned integer overflow"))
}

fn duration(result: Option<i64>) -> Result<Value<'static>, EvalError> {
    result
        .map(Value::Duration)
        .ok_or_else(|| EvalError::of("integer overflow"))
}

/// `a + b`.
pub(crate) fn add<'a>(
    a: &Value<'a>,
    b: &Value<'a>,
    budget: &Budget,
) -> Result<Value<'a>, EvalError> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            budget.spend(2)?;
            budget.spend_bytes(a.len() + b.len())?;
            let mut sum = String::with_capacity(a.len() + b.len());
            sum.push_str(a);
            sum.push_str(b);
            Ok(sum.into())
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            budget.spend_bytes(a.len() + b.len())?;
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        (Value::List(a), Value::List(b)) => add_lists(a, b, budget),
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_add(*b)),
        (Value::Timestamp(a), Value::Duration(b)) | (Value::Duration(b), Value::Timestamp(a)) => {
            a.add(*b).map(Value::Timestamp)
        }
        _ => Err(mismatch(a, "_+_", is_adder)),
    }
}

fn add_lists<'a>(a: &List<'a>, b: &List<'a>, budget: &Budget) -> Result<Value<'a>, EvalError> {
    budget.spend_bytes((a.len() + b.len()) * size_of::<Value<'_>>())?;
    let mut sum: Vec<Value<'a>> = Vec::with_capacity(a.len() + b.len());
    sum.extend(a.to_vec());
    sum.extend(b.to_vec());
    Ok(Value::List(List::Values(Shared::new(sum))))
}

/// `a - b`.
pub(crate) fn sub<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_sub(*b)),
        (Value::Timestamp(a), Value::Duration(b)) => {
            let negated = b.checked_neg();
            let negated = negated.ok_or_else(|| EvalError::of("integer overflow"))?;
            a.add(negated).map(Value::Timestamp)
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => a.since(b).map(Value::Duration),
        _ => Err(mismatch(a, "_-_", |value| {
            is_number(value) || matches!(value, Value::Timestamp(_) | Value::Duration(_))
        })),
    }
}

/// `a * b`.
pub(crate) fn mul<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_mul(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_mul(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => Err(mismatch(a, "_*_", is_number)),
    }
}

/// `a / b`.
pub(crate) fn div<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::of("division by zero"))
        }
        (Value::Int(a), Value::Int(b)) => int(a.checked_div(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_div(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => Err(mismatch(a, "_/_", is_number)),
    }
}

/// `a % b`.
pub(crate) fn rem<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::of("modulus by zero"))
        }
        (Value::Int(a), Value::Int(b)) => int(a.checked_rem(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_rem(*b)),
        _ => Err(mismatch(a, "_%_", |value| {
            matches!(value, Value::Int(_) | Value::Uint(_))
        })),
    }
}

/// `-a`.
pub(crate) fn negate<'a>(a: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match a {
        Value::Int(a) => int(a.checked_neg()),
        Value::Double(a) => Ok(Value::Double(-a)),
        Value::Duration(a) => duration(a.checked_neg()),
        Value::Bool(_) => Err(EvalError::no_such_overload()),
        _ => Err(EvalError::of("no such overload: -_")),
    }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

fn is_adder(value: &Value<'_>) -> bool {
    is_number(value)
        || matches!(
            value,
            Value::String(_)
                | Value::Bytes(_)
                | Value::List(_)
                | Value::Timestamp(_)
                | Value::Duration(_)
        )
}

/// Makes the error that cel-go makes: it names the operator if the left operand never fits.
fn mismatch(a: &Value<'_>, operator: &str, fits: fn(&Value<'_>) -> bool) -> EvalError {
    if fits(a) {
        EvalError::no_such_overload()
    } else {
        EvalError::of(alloc::format!("no such overload: {operator}"))
    }
}
