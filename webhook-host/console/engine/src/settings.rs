//! Settings between core's values and the form that jco gives to values of the Component Model.
//!
//! jco's form, as JSON: records are objects with keys in camelCase, enums are strings, flags are
//! objects of booleans, variants are `{tag, val}`, an absent option is null. JSON has neither
//! 64-bit integers nor infinite numbers: those are `{"$number": "…"}` here, which the embedder
//! turns into a bigint or a number. An option within an option is `{tag: "none"}` or `{tag: "some",
//! val}`. Directed by the component's type, so that it holds for every policy.

use sallyport_core::settings::{Integer, Record, Type, Value};
use serde_json::{Map, Value as Json, json};

/// The key of an object that stands for a number that JSON lacks.
const NUMBER: &str = "$number";

/// Writes settings as jco takes them.
pub(crate) fn to_jco(value: &Value, ty: &Type) -> Json {
    match (value, ty) {
        (Value::Bool(value), _) => (*value).into(),
        (Value::Integer(Integer::S64 | Integer::U64, value), _) => {
            json!({NUMBER: value.to_string()})
        }
        (Value::Integer(_, value), _) => json!(i64::try_from(*value).unwrap_or_default()),
        (Value::Float32(value), _) => float(f64::from(*value)),
        (Value::Float64(value), _) => float(*value),
        (Value::Char(value), _) => value.to_string().into(),
        (Value::String(text), _) => text.as_str().into(),
        (Value::Json(value), _) => value.to_string().into(),
        (Value::List(items), Type::List(ty)) => items.iter().map(|item| to_jco(item, ty)).collect(),
        (Value::Tuple(items), Type::Tuple(types)) => {
            let items = items.iter().zip(types);
            items.map(|(item, ty)| to_jco(item, ty)).collect()
        }
        (Value::Record(fields), Type::Record(Record(types))) => {
            let fields = fields.iter().zip(types);
            let field = |((name, value), (_, ty)): (&(String, Value), &(String, Type))| {
                (camel_case(name), to_jco(value, ty))
            };
            fields.map(field).collect::<Map<_, _>>().into()
        }
        (Value::Option(value), Type::Option(ty)) => match (value, is_option(ty)) {
            (None, false) => Json::Null,
            (Some(value), false) => to_jco(value, ty),
            (None, true) => json!({"tag": "none"}),
            (Some(value), true) => json!({"tag": "some", "val": to_jco(value, ty)}),
        },
        (Value::Variant(case, value), Type::Variant(cases)) => {
            let found = cases.iter().find(|(name, _)| name == case);
            let ty = found.and_then(|(_, ty)| ty.as_ref());
            match value.as_deref().zip(ty) {
                Some((value, ty)) => json!({"tag": case, "val": to_jco(value, ty)}),
                None => json!({"tag": case}),
            }
        }
        (Value::Enum(case), _) => case.as_str().into(),
        (Value::Flags(names), _) => {
            let flag = |name: &String| (camel_case(name), true.into());
            names.iter().map(flag).collect::<Map<_, _>>().into()
        }
        // A value always has its type's form.
        _ => Json::Null,
    }
}

/// Reads settings that jco returned; `None` where they don't have the type.
pub(crate) fn from_jco(json: &Json, ty: &Type) -> Option<Value> {
    Some(match ty {
        Type::Bool => Value::Bool(json.as_bool()?),
        Type::Integer(integer) => Value::Integer(*integer, number(json)?.parse().ok()?),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the component returned 32 bits"
        )]
        Type::Float32 => Value::Float32(number(json)?.parse::<f64>().ok()? as f32),
        Type::Float64 => Value::Float64(number(json)?.parse().ok()?),
        Type::Char => Value::Char(json.as_str()?.chars().next()?),
        Type::String | Type::Json => Value::String(json.as_str()?.to_owned()),
        Type::List(ty) => {
            let items = json.as_array()?.iter();
            Value::List(
                items
                    .map(|item| from_jco(item, ty))
                    .collect::<Option<_>>()?,
            )
        }
        Type::Tuple(types) => {
            let items = json.as_array()?.iter().zip(types);
            Value::Tuple(
                items
                    .map(|(item, ty)| from_jco(item, ty))
                    .collect::<Option<_>>()?,
            )
        }
        Type::Record(Record(types)) => {
            let field = |(name, ty): &(String, Type)| {
                let value = json.get(camel_case(name)).unwrap_or(&Json::Null);
                Some((name.clone(), from_jco(value, ty)?))
            };
            Value::Record(types.iter().map(field).collect::<Option<_>>()?)
        }
        Type::Option(ty) if is_option(ty) => {
            let some = json.get("tag")? == "some";
            let value = || Some(Box::new(from_jco(json.get("val")?, ty)?));
            Value::Option(if some { Some(value()?) } else { None })
        }
        Type::Option(ty) => match json {
            Json::Null => Value::Option(None),
            json => Value::Option(Some(Box::new(from_jco(json, ty)?))),
        },
        Type::Variant(cases) => {
            let tag = json.get("tag")?.as_str()?;
            let (case, ty) = cases.iter().find(|(case, _)| case == tag)?;
            let value = match ty {
                Some(ty) => {
                    let value = json.get("val").unwrap_or(&Json::Null);
                    Some(Box::new(from_jco(value, ty)?))
                }
                None => None,
            };
            Value::Variant(case.clone(), value)
        }
        Type::Enum(cases) => {
            let case = json.as_str()?;
            Value::Enum(cases.iter().find(|name| *name == case)?.clone())
        }
        Type::Flags(names) => {
            let is_set = |name: &&String| json[camel_case(name)] == true;
            Value::Flags(names.iter().filter(is_set).cloned().collect())
        }
    })
}

fn is_option(ty: &Type) -> bool {
    matches!(ty, Type::Option(_))
}

fn float(value: f64) -> Json {
    if value.is_finite() {
        return value.into();
    }
    json!({NUMBER: value.to_string()})
}

/// Returns the text of a number, which may be one that JSON lacks.
fn number(json: &Json) -> Option<String> {
    match json {
        Json::Number(number) => Some(number.to_string()),
        json => Some(json.get(NUMBER)?.as_str()?.to_owned()),
    }
}

/// Spells a WIT name as jco does: `allow-internal-LB` is `allowInternalLb`.
pub(crate) fn camel_case(wit: &str) -> String {
    let mut name = String::with_capacity(wit.len());
    for word in wit.split('-') {
        let word = word.to_lowercase();
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if !name.is_empty() => name.extend(first.to_uppercase().chain(letters)),
            _ => name.push_str(&word),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty() -> Type {
        let text = || Type::String;
        let fields = [
            ("allow-LB", Type::Bool),
            ("big", Type::Integer(Integer::U64)),
            ("small", Type::Integer(Integer::S8)),
            ("share", Type::Float64),
            ("letter", Type::Char),
            ("any", Type::Json),
            (
                "pairs",
                Type::List(Box::new(Type::Tuple(vec![text(), text()]))),
            ),
            ("maybe", Type::Option(Box::new(text()))),
            (
                "twice",
                Type::Option(Box::new(Type::Option(Box::new(text())))),
            ),
            (
                "choice",
                Type::Variant(vec![
                    ("all".to_owned(), None),
                    ("some-of".to_owned(), Some(text())),
                ]),
            ),
            ("word", Type::Enum(vec!["on-prem".to_owned()])),
            ("marks", Type::Flags(vec!["a-b".to_owned(), "c".to_owned()])),
        ];
        let fields = fields.map(|(name, ty)| (name.to_owned(), ty));
        Type::Record(Record(fields.to_vec()))
    }

    fn value(maybe: Option<&str>) -> Value {
        let text = |text: &str| Value::String(text.to_owned());
        let maybe = || Value::Option(maybe.map(|word| Box::new(text(word))));
        let pair = Value::Tuple(vec![text("a"), text("b")]);
        let fields = [
            ("allow-LB", Value::Bool(true)),
            ("big", Value::Integer(Integer::U64, u64::MAX.into())),
            ("small", Value::Integer(Integer::S8, -128)),
            ("share", Value::Float64(f64::INFINITY)),
            ("letter", Value::Char('ß')),
            ("any", text("{\"a\":[1]}")),
            ("pairs", Value::List(vec![pair])),
            ("maybe", maybe()),
            ("twice", Value::Option(Some(Box::new(maybe())))),
            (
                "choice",
                Value::Variant("some-of".to_owned(), Some(Box::new(text("x")))),
            ),
            ("word", Value::Enum("on-prem".to_owned())),
            ("marks", Value::Flags(vec!["a-b".to_owned()])),
        ];
        Value::Record(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    #[test]
    fn every_kind_of_value_survives_the_way_there_and_back() {
        for maybe in [None, Some("text")] {
            let (ty, value) = (ty(), value(maybe));
            let json = to_jco(&value, &ty);
            assert_eq!(json["allowLb"], true);
            assert_eq!(json["big"], json!({"$number": "18446744073709551615"}));
            assert_eq!(json["marks"], json!({"aB": true}));
            assert_eq!(from_jco(&json, &ty), Some(value));
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        assert_eq!(from_jco(&json!({"allowLb": "yes"}), &ty()), None);
    }
}
