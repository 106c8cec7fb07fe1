//! `format`: printf for strings, and values as texts.

use super::text::{double, go_quoted, scientific};
use super::time::duration_text;
use crate::budget::Budget;
use crate::error::EvalError;
use crate::order::sorted;
use crate::value::{List, Map, Value};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// The digits after the point where a clause doesn't say how many.
const DEFAULT_PRECISION: usize = 6;
/// The most digits after the point. An API server allows 1000, but prints fewer than it is asked
/// for beyond 255.
const MAX_PRECISION: usize = 255;

/// A clause of a format: `%.3f`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clause {
    pub(crate) verb: Verb,
    precision: usize,
}

/// The letter of a clause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Text,
    Decimal,
    Fixed,
    Scientific,
    Binary,
    Hex,
    UpperHex,
    Octal,
}

impl Verb {
    /// Returns the message for an argument of a type that the clause can't write.
    pub(crate) fn refuses(self, type_name: &str) -> String {
        let rule = match self {
            Self::Text => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, \
                 lists, types, durations, and timestamps"
            }
            Self::Decimal => "decimal clause can only be used on integers",
            Self::Fixed => "fixed-point clause can only be used on doubles",
            Self::Scientific => "scientific clause can only be used on doubles",
            Self::Binary => "only integers and bools can be formatted as binary",
            Self::Hex | Self::UpperHex => {
                "only integers, byte buffers, and strings can be formatted as hex"
            }
            Self::Octal => "octal clause can only be used on integers",
        };
        format!("error during formatting: {rule}, was given {type_name}")
    }
}

/// A piece of a format.
pub(crate) enum Piece<'f> {
    Text(&'f str),
    Clause(Clause),
}

/// Splits a format into pieces.
pub(crate) fn pieces(format: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            pieces.push(Piece::Text("%"));
            rest = after;
            continue;
        }
        let (clause, after) = clause(rest)?;
        pieces.push(Piece::Clause(clause));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

fn clause(text: &str) -> Result<(Clause, &str), String> {
    let mut rest = text;
    let mut precision = DEFAULT_PRECISION;
    if let Some(after) = rest.strip_prefix('.') {
        let end = after.find(|c: char| !c.is_ascii_digit());
        let end = end.ok_or(
            "could not parse formatting clause: error while parsing precision: could not find end \
             of precision specifier",
        )?;
        precision = after[..end]
            .parse()
            .ok()
            .filter(|precision| *precision <= MAX_PRECISION)
            .ok_or_else(|| {
                format!(
                    "could not parse formatting clause: error while parsing precision: {:?} is no \
                     number up to {MAX_PRECISION}",
                    &after[..end]
                )
            })?;
        rest = &after[end..];
    }
    let letter = rest.chars().next().ok_or("unexpected end of string")?;
    let verb = match letter {
        's' => Verb::Text,
        'd' => Verb::Decimal,
        'f' => Verb::Fixed,
        'e' => Verb::Scientific,
        'b' => Verb::Binary,
        'x' => Verb::Hex,
        'X' => Verb::UpperHex,
        'o' => Verb::Octal,
        _ => {
            return Err(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{letter}\""
            ));
        }
    };
    Ok((Clause { verb, precision }, &rest[letter.len_utf8()..]))
}

/// Writes arguments into a format.
pub(crate) fn format(
    format: &str,
    arguments: &List<'_>,
    budget: &Budget,
) -> Result<String, EvalError> {
    budget.spend_bytes(format.len())?;
    let mut out = String::new();
    let arguments = arguments.to_vec();
    let mut index = 0;
    for piece in pieces(format).map_err(EvalError::of)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Clause(clause) => {
                let argument = arguments
                    .get(index)
                    .ok_or_else(|| EvalError::of(alloc::format!("index {index} out of range")))?;
                write_clause(clause, argument, &mut out, budget)?;
                index += 1;
            }
        }
    }
    budget.spend_bytes(out.len())?;
    Ok(out)
}

fn write_clause(
    clause: Clause,
    argument: &Value<'_>,
    out: &mut String,
    budget: &Budget,
) -> Result<(), EvalError> {
    let refuse = || EvalError::of(clause.verb.refuses(argument.type_name()));
    let text = match (clause.verb, argument) {
        (Verb::Text, argument) => return write(argument, false, out, budget),
        (
            Verb::Decimal | Verb::Octal | Verb::Hex | Verb::UpperHex | Verb::Binary,
            Value::Int(n),
        ) => {
            let sign = if *n < 0 { "-" } else { "" };
            format!("{sign}{}", in_base(clause.verb, n.unsigned_abs()))
        }
        (
            Verb::Decimal | Verb::Octal | Verb::Hex | Verb::UpperHex | Verb::Binary,
            Value::Uint(n),
        ) => in_base(clause.verb, *n),
        (Verb::Binary, Value::Bool(value)) => if *value { "1" } else { "0" }.to_owned(),
        (Verb::Hex | Verb::UpperHex, Value::String(text)) => hex(clause.verb, text.as_bytes()),
        (Verb::Hex | Verb::UpperHex, Value::Bytes(bytes)) => hex(clause.verb, bytes),
        (Verb::Fixed | Verb::Scientific, argument) => {
            let value = floating(argument).ok_or_else(refuse)?;
            spend_digits(value, clause.precision, budget)?;
            if clause.verb == Verb::Fixed {
                fixed(value, clause.precision)
            } else {
                locale_scientific(value, clause.precision)
            }
        }
        _ => return Err(refuse()),
    };
    out.push_str(&text);
    Ok(())
}

/// Takes the steps for writing a double with all digits before its point, of which the largest has
/// 309.
fn spend_digits(value: f64, precision: usize, budget: &Budget) -> Result<(), EvalError> {
    let exponent = (value.to_bits() >> 52 & 0x7ff).saturating_sub(1023);
    budget.spend(16 + exponent / 3 + precision as u64)
}

/// Returns a double, or one of the three strings that stand for one.
fn floating(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Writes a double with a comma between thousands, as the locale en_US has it.
fn fixed(value: f64, precision: usize) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "-∞" }.to_owned();
    }
    let plain = format!("{value:.precision$}");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain.as_str()),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (digits, String::new()),
    };
    let mut out = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + &fraction
}

/// Writes a double with an exponent as the locale en_US has it: `1.500000×10⁰³`. As in Kubernetes
/// 1.36, the number of the clause is the least width, and there are always six digits.
fn locale_scientific(value: f64, width: usize) -> String {
    let text = if value.is_finite() {
        let plain = scientific(value, DEFAULT_PRECISION);
        let (mantissa, exponent) = plain.split_once('e').unwrap_or((&plain, "+00"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ("⁻", digits),
            None => ("", exponent.trim_start_matches('+')),
        };
        let exponent: String = digits.chars().map(superscript).collect();
        format!("{mantissa}×10{sign}{exponent}")
    } else {
        fixed(value, 0)
    };
    format!("{text:>width$}")
}

fn superscript(digit: char) -> char {
    match digit {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit.to_digit(10).unwrap_or(0)).unwrap_or('⁰'),
    }
}

fn in_base(verb: Verb, number: u64) -> String {
    match verb {
        Verb::Hex => format!("{number:x}"),
        Verb::UpperHex => format!("{number:X}"),
        Verb::Octal => format!("{number:o}"),
        Verb::Binary => format!("{number:b}"),
        _ => number.to_string(),
    }
}

fn hex(verb: Verb, bytes: &[u8]) -> String {
    let digit = |byte: &u8| {
        if verb == Verb::UpperHex {
            format!("{byte:02X}")
        } else {
            format!("{byte:02x}")
        }
    };
    bytes.iter().map(digit).collect()
}

/// Writes a value as `%s` does. Inside lists and maps, strings are quoted.
fn write(
    value: &Value<'_>,
    is_inside: bool,
    out: &mut String,
    budget: &Budget,
) -> Result<(), EvalError> {
    budget.spend(1)?;
    match value {
        Value::String(text) => {
            budget.spend_bytes(text.len())?;
            if is_inside {
                out.push_str(&go_quoted(text));
            } else {
                out.push_str(text);
            }
        }
        Value::Bytes(bytes) => {
            budget.spend_bytes(bytes.len())?;
            let text = String::from_utf8_lossy(bytes);
            if is_inside {
                out.push('b');
                out.push_str(&go_quoted(&text));
            } else {
                out.push_str(&text);
            }
        }
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Uint(value) => out.push_str(&value.to_string()),
        Value::Double(value) if is_inside => {
            spend_digits(*value, DEFAULT_PRECISION, budget)?;
            out.push_str(&inside_double(*value));
        }
        Value::Double(value) => out.push_str(&double(*value)),
        Value::Type(name) => out.push_str(name.as_str()),
        Value::Timestamp(value) if is_inside => {
            out.push_str(&format!("timestamp({})", go_quoted(&value.text())));
        }
        Value::Timestamp(value) => out.push_str(&value.text()),
        Value::Duration(value) if is_inside => {
            out.push_str(&format!("duration({})", go_quoted(&duration_text(*value))));
        }
        Value::Duration(value) => out.push_str(&duration_text(*value)),
        Value::List(list) => write_list(list, out, budget)?,
        Value::Map(map) => write_map(map, out, budget)?,
        other => return Err(EvalError::of(Verb::Text.refuses(other.type_name()))),
    }
    Ok(())
}

fn inside_double(value: f64) -> String {
    let text = if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        return format!("{value:.DEFAULT_PRECISION$}");
    };
    go_quoted(&text)
}

fn write_list(list: &List<'_>, out: &mut String, budget: &Budget) -> Result<(), EvalError> {
    let _deeper = budget.enter()?;
    out.push('[');
    let mut is_first = true;
    list.each(&mut |element| {
        if !core::mem::take(&mut is_first) {
            out.push_str(", ");
        }
        write(&element, true, out, budget)
    })?;
    out.push(']');
    Ok(())
}

fn write_map(map: &Map<'_>, out: &mut String, budget: &Budget) -> Result<(), EvalError> {
    let _deeper = budget.enter()?;
    let mut entries = Vec::with_capacity(map.len());
    map.each(&mut |key, value| {
        budget.spend(4)?;
        let mut entry = (String::new(), String::new());
        write(&key, true, &mut entry.0, budget)?;
        write(&value, true, &mut entry.1, budget)?;
        entries.push(entry);
        Ok(())
    })?;
    out.push('{');
    for (index, (key, value)) in sorted(&entries).iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        out.push_str(key);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    Ok(())
}

/// Shows a value in an error message.
pub(crate) fn shown(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => (**text).to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double(*value),
        Value::Bool(value) => value.to_string(),
        other => other.type_name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str, arguments: Vec<Value<'_>>) -> String {
        let arguments = List::Values(crate::shared::Shared::new(arguments));
        format(text, &arguments, &Budget::new(10_000)).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn clauses_write_what_they_say() {
        for (text, argument, expected) in [
            ("%s!", Value::from("a"), "a!"),
            ("%d%%", Value::Int(-5), "-5%"),
            ("%x", Value::Int(-255), "-ff"),
            ("%X", Value::from("hi"), "6869"),
            ("%b", Value::Bool(true), "1"),
            ("%o", Value::Uint(8), "10"),
            ("%.2f", Value::Double(1234.567), "1,234.57"),
            ("%s", Value::Double(1e6), "1e+06"),
            ("%s", Value::Duration(1_500_000_000), "1.5s"),
            (
                "%s",
                Value::from(alloc::vec![Value::from("a"), Value::Double(1.5)]),
                "[\"a\", 1.500000]",
            ),
            (
                "%s",
                [("b", Value::Int(1)), ("a", Value::Null)]
                    .into_iter()
                    .collect(),
                "{\"a\":null, \"b\":1}",
            ),
        ] {
            assert_eq!(formatted(text, alloc::vec![argument]), expected, "{text}");
        }
    }

    #[test]
    fn wrong_formats_and_arguments_are_errors() {
        assert!(
            formatted("%d", alloc::vec![Value::from("a")]).contains("only be used on integers")
        );
        assert!(formatted("%d", Vec::new()).contains("index 0 out of range"));
        assert!(formatted("%q", alloc::vec![Value::Null]).contains("unrecognized"));
        assert!(formatted("%", alloc::vec![Value::Null]).contains("unexpected end"));
        assert!(formatted("%.9999f", alloc::vec![Value::Double(1.0)]).contains("no number"));
    }
}
