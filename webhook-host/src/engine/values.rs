//! Conversion of settings between core's values and wasmtime's.

use sallyport_core::settings::{Integer, Value};
use wasmtime::component::Val;

/// Converts a value to wasmtime's, which checks it against the function's type.
pub(super) fn to_val(value: &Value) -> Val {
    let all = |items: &[Value]| items.iter().map(to_val).collect();
    let boxed = |value: &Option<Box<Value>>| value.as_deref().map(|value| Box::new(to_val(value)));
    match value {
        Value::Bool(value) => Val::Bool(*value),
        Value::Integer(ty, value) => to_integer(*ty, *value),
        Value::Float32(value) => Val::Float32(*value),
        Value::Float64(value) => Val::Float64(*value),
        Value::Char(value) => Val::Char(*value),
        Value::String(text) => Val::String(text.clone()),
        Value::List(items) => Val::List(all(items)),
        Value::Option(value) => Val::Option(boxed(value)),
        Value::Tuple(items) => Val::Tuple(all(items)),
        Value::Record(fields) => Val::Record(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), to_val(value)))
                .collect(),
        ),
        Value::Variant(case, payload) => Val::Variant(case.clone(), boxed(payload)),
        Value::Enum(case) => Val::Enum(case.clone()),
        Value::Flags(names) => Val::Flags(names.clone()),
        Value::Json(value) => Val::String(value.to_string()),
    }
}

/// Converts a value from wasmtime's. Returns `None` for a type that settings can't have, such as a
/// resource.
pub(super) fn from_val(val: &Val) -> Option<Value> {
    let all = |items: &[Val]| items.iter().map(from_val).collect::<Option<Vec<_>>>();
    let boxed = |val: &Option<Box<Val>>| match val {
        Some(val) => from_val(val).map(|value| Some(Box::new(value))),
        None => Some(None),
    };
    Some(match val {
        Val::Bool(value) => Value::Bool(*value),
        Val::S8(value) => Value::Integer(Integer::S8, (*value).into()),
        Val::U8(value) => Value::Integer(Integer::U8, (*value).into()),
        Val::S16(value) => Value::Integer(Integer::S16, (*value).into()),
        Val::U16(value) => Value::Integer(Integer::U16, (*value).into()),
        Val::S32(value) => Value::Integer(Integer::S32, (*value).into()),
        Val::U32(value) => Value::Integer(Integer::U32, (*value).into()),
        Val::S64(value) => Value::Integer(Integer::S64, (*value).into()),
        Val::U64(value) => Value::Integer(Integer::U64, (*value).into()),
        Val::Float32(value) => Value::Float32(*value),
        Val::Float64(value) => Value::Float64(*value),
        Val::Char(value) => Value::Char(*value),
        Val::String(text) => Value::String(text.clone()),
        Val::List(items) => Value::List(all(items)?),
        Val::Option(value) => Value::Option(boxed(value)?),
        Val::Tuple(items) => Value::Tuple(all(items)?),
        Val::Record(fields) => {
            let field = |(name, val): &(String, Val)| Some((name.clone(), from_val(val)?));
            Value::Record(fields.iter().map(field).collect::<Option<_>>()?)
        }
        Val::Variant(case, payload) => Value::Variant(case.clone(), boxed(payload)?),
        Val::Enum(case) => Value::Enum(case.clone()),
        Val::Flags(names) => Value::Flags(names.clone()),
        _ => return None,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an integer of a type is within its bounds"
)]
fn to_integer(ty: Integer, value: i128) -> Val {
    match ty {
        Integer::S8 => Val::S8(value as i8),
        Integer::U8 => Val::U8(value as u8),
        Integer::S16 => Val::S16(value as i16),
        Integer::U16 => Val::U16(value as u16),
        Integer::S32 => Val::S32(value as i32),
        Integer::U32 => Val::U32(value as u32),
        Integer::S64 => Val::S64(value as i64),
        Integer::U64 => Val::U64(value as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_it_was() {
        let number = |ty: Integer| {
            let (min, max) = ty.bounds();
            Value::Tuple(vec![Value::Integer(ty, min), Value::Integer(ty, max)])
        };
        let integers = [
            Integer::S8,
            Integer::U8,
            Integer::S16,
            Integer::U16,
            Integer::S32,
            Integer::U32,
            Integer::S64,
            Integer::U64,
        ];
        let text = || Value::String("a".to_owned());
        let values = [
            Value::List(integers.map(number).to_vec()),
            Value::Tuple(vec![
                Value::Bool(true),
                Value::Float32(0.5),
                Value::Float64(0.25),
                Value::Char('ä'),
                text(),
            ]),
            Value::Record(vec![(
                "a".to_owned(),
                Value::Option(Some(Box::new(text()))),
            )]),
            Value::Variant("a".to_owned(), Some(Box::new(Value::Option(None)))),
            Value::Variant("b".to_owned(), None),
            Value::Enum("c".to_owned()),
            Value::Flags(vec!["d".to_owned()]),
        ];
        for value in values {
            assert_eq!(from_val(&to_val(&value)).as_ref(), Some(&value));
        }
    }
}
