//! Conversions between types: `int(x)`, `string(x)`, `type(x)`.

use super::net;
use super::text::double;
use super::time::{Timestamp, duration_text, parse_duration};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::signatures::Function;
use crate::value::Value;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString as _};

type Result<T> = core::result::Result<T, EvalError>;

/// 2^63 and 2^64 as doubles.
const INT_END: f64 = 9_223_372_036_854_775_808.0;
const UINT_END: f64 = 18_446_744_073_709_551_616.0;

fn failed<'a>(value: &Value<'_>, to: &str) -> Result<Value<'a>> {
    Err(EvalError::of(format!(
        "type conversion error from '{}' to '{to}'",
        value.type_name()
    )))
}

/// Converts a value, if the function is a conversion and takes it.
pub(crate) fn call<'a>(
    function: Function,
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Option<Result<Value<'a>>> {
    let [value] = arguments else {
        return None;
    };
    if let Value::String(text) = value
        && let Err(error) = budget.spend_bytes(text.len())
    {
        return Some(Err(error));
    }
    Some(match function {
        Function::TypeOf => Ok(Value::Type(value.type_value())),
        Function::Dyn => Ok(value.clone()),
        Function::Bool => to_bool(value)?,
        Function::Bytes => to_bytes(value)?,
        Function::Double => to_double(value)?,
        Function::Duration => to_duration(value)?,
        Function::Int => to_int(value)?,
        Function::String => to_string(value, budget)?,
        Function::Timestamp => to_timestamp(value)?,
        Function::Uint => to_uint(value)?,
        _ => return None,
    })
}

fn to_bool<'a>(value: &Value<'a>) -> Option<Result<Value<'a>>> {
    Some(match value {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => failed(value, "bool"),
        },
        _ => return None,
    })
}

fn to_bytes<'a>(value: &Value<'a>) -> Option<Result<Value<'a>>> {
    Some(Ok(match value {
        Value::Bytes(_) => value.clone(),
        Value::String(text) => Value::Bytes(text.as_bytes().to_vec().into()),
        _ => return None,
    }))
}

fn to_double<'a>(value: &Value<'a>) -> Option<Result<Value<'a>>> {
    Some(Ok(Value::Double(match value {
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::String(text) => {
            let parsed = text.parse::<f64>().ok();
            // Go reads infinity only by name.
            let has_digits = text.contains(|c: char| c.is_ascii_digit());
            match parsed.filter(|number| number.is_finite() || !has_digits) {
                Some(number) => number,
                None => return Some(failed(value, "double")),
            }
        }
        _ => return None,
    })))
}

fn to_duration<'a>(value: &Value<'a>) -> Option<Result<Value<'a>>> {
    Some(match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::String(text) => match parse_duration(text) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => failed(value, "google.protobuf.Duration"),
        },
        _ => return None,
    })
}

fn to_int<'a>(value: &Value<'a>) -> Option<Result<Value<'a>>> {
    let overflow = || Err(EvalError::of("integer overflow"));
    Some(match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(value) => {
            i64::try_from(*value).map_or_else(|_| overflow(), |value| Ok(Value::Int(value)))
        }
        Value::Double(value) if *value > -INT_END && *value < INT_END => {
            Ok(Value::Int(*value as i64))
        }
        Value::Double(_) => overflow(),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        Value::Timestamp(time) => Ok(Value::Int(time.seconds())),
        Value::String(text) => match text.parse() {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => failed(value, "int"),
        },
        _ => return None,
    })
}

fn to_uint<'a>(value: &Value<'a>) -> Option<Result<Value<'a>>> {
    let overflow = || Err(EvalError::of("unsigned integer overflow"));
    Some(match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(value) => {
            u64::try_from(*value).map_or_else(|_| overflow(), |value| Ok(Value::Uint(value)))
        }
        Value::Double(value) if *value >= 0.0 && *value < UINT_END => {
            Ok(Value::Uint(*value as u64))
        }
        Value::Double(_) => overflow(),
        Value::String(text) => match text.parse() {
            Ok(number) if !text.starts_with('+') => Ok(Value::Uint(number)),
            _ => failed(value, "uint"),
        },
        _ => return None,
    })
}

fn to_string<'a>(value: &Value<'a>, budget: &Budget) -> Option<Result<Value<'a>>> {
    Some(Ok(Value::from(match value {
        Value::String(_) => return Some(Ok(value.clone())),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double(*value),
        Value::Duration(nanos) => duration_text(*nanos),
        Value::Timestamp(time) => time.text(),
        Value::Ip(address) => net::ip_text(*address),
        Value::Cidr(block) => block.text(),
        Value::Bytes(bytes) => {
            if let Err(error) = budget.spend_bytes(bytes.len()) {
                return Some(Err(error));
            }
            match String::from_utf8(bytes.to_vec()) {
                Ok(text) => text,
                Err(_) => {
                    let message = "invalid UTF-8 in bytes, cannot convert to string".to_owned();
                    return Some(Err(EvalError::of(message)));
                }
            }
        }
        _ => return None,
    })))
}

fn to_timestamp<'a>(value: &Value<'a>) -> Option<Result<Value<'a>>> {
    Some(match value {
        Value::Timestamp(_) => Ok(value.clone()),
        Value::Int(seconds) => Timestamp::from_seconds(*seconds).map(Value::Timestamp),
        Value::String(text) => match Timestamp::parse(text) {
            Some(time) => time.map(Value::Timestamp),
            None => failed(value, "google.protobuf.Timestamp"),
        },
        _ => return None,
    })
}
