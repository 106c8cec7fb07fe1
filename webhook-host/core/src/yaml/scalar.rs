//! The value of a YAML scalar as `kubectl` reads it: YAML 1.1 with the exceptions of Go's yaml.v2,
//! then through JSON.
//!
//! `yes`, `on` and `y` are booleans, `0o17`, `017` and `1_7` are integers, `3e4` is the integer
//! 30000 (JSON has one kind of number), dates and `1:30` are texts. Source: `resolve` in
//! go.yaml.in/yaml/v2, `YAMLToJSON` in sigs.k8s.io/yaml.

use serde_json::Value;

const TAG_PREFIX: &str = "tag:yaml.org,2002:";

/// A scalar as it stands in the text.
pub(super) struct Scalar<'a> {
    /// The long form, such as `tag:yaml.org,2002:str`.
    pub(super) tag: Option<&'a str>,
    pub(super) text: &'a str,
    /// Neither quoted nor tagged.
    pub(super) plain: bool,
}

impl Scalar<'_> {
    /// Returns a boolean, a number, a text or null.
    ///
    /// # Errors
    ///
    /// The reason why `kubectl` would refuse it, or why its meaning is uncertain.
    pub(super) fn resolve(&self) -> Result<Value, String> {
        let Some(tag) = self.tag else {
            return if self.plain {
                plain(self.text)
            } else {
                Ok(self.text.into())
            };
        };
        let mismatch = || {
            Err(format!(
                "{:?} is no !!{}",
                self.text,
                &tag[TAG_PREFIX.len()..]
            ))
        };
        match (tag.strip_prefix(TAG_PREFIX), plain(self.text)?) {
            (Some("str"), _) => Ok(self.text.into()),
            (Some("bool"), value @ Value::Bool(_)) | (Some("null"), value @ Value::Null) => {
                Ok(value)
            }
            (Some("int"), value @ Value::Number(_)) if !is_float(self.text) => Ok(value),
            (Some("float"), value @ Value::Number(_)) => Ok(value),
            (Some("bool" | "null" | "int" | "float"), _) => mismatch(),
            (Some(kind @ ("timestamp" | "binary")), _) => Err(format!(
                "a !!{kind} value; write it as a quoted string without the tag"
            )),
            // kubectl ignores other tags.
            _ => Ok(self.text.into()),
        }
    }
}

/// Parses a scalar without quotes and tag.
fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(true.into());
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(false.into());
        }
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!(
            "{text} is a number that JSON can't express; quote it"
        ));
    }
    match text.as_bytes()[0] {
        b'0'..=b'9' | b'+' | b'-' => {
            Ok(number(&text.replace('_', "")).unwrap_or_else(|| text.into()))
        }
        b'.' => dotted(text),
        _ => Ok(text.into()),
    }
}

/// `.5` is a number. Go reads more than that as one (`.5p3`, `.5_0`), which nobody means.
fn dotted(text: &str) -> Result<Value, String> {
    if is_decimal(text) {
        return Ok(float(text).unwrap_or_else(|| text.into()));
    }
    let numeric = |c: char| c.is_ascii_hexdigit() || "+-._pPxX".contains(c);
    match text.as_bytes().get(1) {
        Some(b'0'..=b'9') if text.chars().all(numeric) => {
            Err(format!("{text} may be read as a number; quote it"))
        }
        _ => Ok(text.into()),
    }
}

/// Parses an integer in Go's notation, or a decimal number.
fn number(text: &str) -> Option<Value> {
    integer(text).or_else(|| is_decimal(text).then(|| float(text)).flatten())
}

/// Parses an integer as Go's `strconv.ParseInt` with base 0 does, then as `ParseUint`.
fn integer(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (digits, radix) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&unsigned[2..], 16),
        [b'0', b'o' | b'O', ..] => (&unsigned[2..], 8),
        [b'0', b'b' | b'B', ..] => (&unsigned[2..], 2),
        [b'0', _, ..] => (&unsigned[1..], 8),
        _ => (unsigned, 10),
    };
    // Rust would accept a second sign.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match text.as_bytes()[0] {
        b'-' => 0i64.checked_sub_unsigned(magnitude).map(Value::from),
        b'+' => i64::try_from(magnitude).ok().map(Value::from),
        // Beyond an int64, JSON's readers in Kubernetes take it for a float.
        _ => i64::try_from(magnitude)
            .ok()
            .map_or_else(|| float(&magnitude.to_string()), |n| Some(n.into())),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        ),
        None => (text, None),
    };
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

fn is_float(text: &str) -> bool {
    integer(&text.replace('_', "")).is_none()
}

/// Parses a decimal number to the value that arrives at the API server: Go writes a float without
/// fraction as an integer, which is then read as one. `None` where it overflows.
pub(super) fn float(text: &str) -> Option<Value> {
    let number: f64 = text.parse().ok()?;
    if !number.is_finite() {
        return None;
    }
    // Like Go, Rust writes the shortest digits, padded with zeros.
    let integer = (number.abs() < 1e21)
        .then(|| format!("{number}").parse::<i64>().ok())
        .flatten();
    Some(integer.map_or_else(|| number.into(), Value::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str) -> Value {
        plain(text).expect("readable")
    }

    #[test]
    fn integers_have_many_notations() {
        for (text, expected) in [
            ("0o17", 15),
            ("017", 15),
            ("0x1F", 31),
            ("0b101", 5),
            ("-0b101", -5),
            ("1_000", 1000),
            ("1_", 1),
            ("+80", 80),
            ("-0", 0),
            ("3e4", 30000),
            ("80.0", 80),
            ("08", 8),
            ("1.", 1),
            ("0_17", 15),
            (".5e1", 5),
        ] {
            assert_eq!(value(text), json!(expected), "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_number_may_be_a_text() {
        for text in [
            "1:30",
            "2024-01-01",
            "0x",
            "0o18",
            "0b2",
            "+",
            "-",
            "1e",
            "1e999",
            "--1",
            "+-1",
            "_1",
            ".",
            "..5",
            "=",
            "<<",
        ] {
            assert_eq!(value(text), json!(text), "{text}");
        }
    }

    #[test]
    fn numbers_beyond_an_int64_are_floats() {
        assert_eq!(
            value("9223372036854775807"),
            json!(9_223_372_036_854_775_807_i64)
        );
        assert_eq!(value("-9223372036854775808"), json!(i64::MIN));
        assert!(value("9223372036854775808").is_f64());
        assert!(value("1e300").is_f64());
        assert_eq!(value("1.5"), json!(1.5));
    }

    #[test]
    fn words_are_booleans_and_null() {
        assert_eq!(
            (value("y"), value("Off"), value("~")),
            (json!(true), json!(false), Value::Null)
        );
        assert_eq!((value("yEs"), value("nULL")), (json!("yEs"), json!("nULL")));
        for text in [".inf", "-.INF", ".nan", ".5_0"] {
            assert!(plain(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tags_force_or_refuse() {
        let tagged = |kind: &str, text: &str| {
            Scalar {
                tag: Some(&format!("{TAG_PREFIX}{kind}")),
                text,
                plain: false,
            }
            .resolve()
            .ok()
        };
        assert_eq!(tagged("str", "80"), Some(json!("80")));
        assert_eq!(tagged("int", "80"), Some(json!(80)));
        assert_eq!(tagged("float", "80"), Some(json!(80)));
        assert_eq!(tagged("bool", "yes"), Some(json!(true)));
        assert_eq!(tagged("set", "80"), Some(json!("80")));
        for (kind, text) in [
            ("int", "8.5"),
            ("int", "x"),
            ("bool", "1"),
            ("null", "x"),
            ("binary", "eA=="),
        ] {
            assert_eq!(tagged(kind, text), None, "{kind} {text}");
        }
    }
}
