//! The report of `sallyport inspect`, for people.

use super::Detail;
use crate::decode::join;
use crate::policy::{Inspection, RequiredSetting};
use crate::printable::printable;
use serde_json::Value;
use std::fmt::Write as _;

/// Returns one line for each fact, then the settings, with long defaults in detail; or a line with
/// the name.
pub fn text(inspection: &Inspection, detail: Detail) -> String {
    if detail == Detail::Quiet {
        return format!("{} {}\n", inspection.name, inspection.version);
    }
    let list = |items: &[String]| {
        if items.is_empty() {
            "none".to_owned()
        } else {
            items.join(", ")
        }
    };
    let snapshot = match &inspection.configured_per_instance {
        None if !inspection.required_settings.is_empty() => {
            "not known: settings are required, see the end".to_owned()
        }
        None => "yes".to_owned(),
        Some(reason) => format!("no, configured for every review: {reason}"),
    };
    let rows = [
        ("name", inspection.name.clone()),
        ("version", inspection.version.clone()),
        ("contract", inspection.contract.clone()),
        (
            "world",
            inspection
                .world
                .clone()
                .unwrap_or_else(|| "unknown (no WIT text in the component)".to_owned()),
        ),
        ("phases", inspection.phases.join(", ")),
        ("operations", inspection.operations.join(", ")),
        ("resources", inspection.resources.join(", ")),
        (
            "context",
            if inspection.context.is_empty() {
                "none".to_owned()
            } else {
                inspection.context.join(", ")
            },
        ),
        (
            "about",
            if inspection.about.is_empty() {
                "every Service".to_owned()
            } else {
                inspection.about.join(", ")
            },
        ),
        (
            "compares",
            printable(&compared(inspection, detail)).into_owned(),
        ),
        ("imports", list(&inspection.imports)),
        ("exports", list(&inspection.exports)),
        ("pre-initialised", snapshot),
        (
            "size",
            format!(
                "{} bytes ({:.1} KiB)",
                inspection.size,
                kibibytes(inspection.size)
            ),
        ),
        ("digest", inspection.digest.clone()),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<16} {value}");
    }
    if let Some(documentation) = &inspection.documentation {
        let _ = writeln!(text, "\n{documentation}\n");
    }
    match &inspection.settings {
        None => text.push_str("settings         none\n"),
        Some(schema) => {
            text.push_str("settings\n");
            properties(&mut text, schema, 1, detail);
        }
    }
    required(&mut text, &inspection.required_settings);
    text
}

/// The texts that it compares, of many the first ones.
fn compared(inspection: &Inspection, detail: Detail) -> String {
    const SHOWN: usize = 3;
    let compares = &inspection.compares;
    let more = match detail {
        Detail::Verbose => 0,
        _ => compares.len().saturating_sub(SHOWN),
    };
    match (compares.is_empty(), more) {
        (true, _) => "no free texts".to_owned(),
        (false, 0) => compares.join(", "),
        (false, more) => format!("{} and {more} more (all: -v)", compares[..SHOWN].join(", ")),
    }
}

/// The settings without which the policy does not load.
fn required(text: &mut String, settings: &[RequiredSetting]) {
    if settings.is_empty() {
        return;
    }
    text.push_str("required: the policy refuses its defaults, so a manifest must give these\n");
    for RequiredSetting { path, message } in settings {
        let path = join("spec.settings", path);
        let _ = writeln!(text, "  {path}: {}", printable(message));
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "for people; components are far smaller than 2^52 bytes"
)]
fn kibibytes(size: usize) -> f64 {
    size as f64 / 1024.0
}

/// `name: type = default`, with the description below, properties of properties indented.
fn properties(text: &mut String, schema: &Value, depth: usize, detail: Detail) {
    let pad = "  ".repeat(depth);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, property) in properties {
        let _ = write!(text, "{pad}{name}: {}", kind(property));
        if let Some(default) = property.get("default") {
            let default = default.to_string();
            let shown = match detail {
                Detail::Verbose => default,
                _ => short(&default),
            };
            let _ = write!(text, " = {shown}");
        }
        text.push('\n');
        for line in property
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .lines()
        {
            let _ = writeln!(text, "{pad}    {}", line.trim());
        }
        for part in [
            property,
            &property["items"],
            &property["additionalProperties"],
        ] {
            self::properties(text, part, depth + 2, detail);
        }
    }
}

/// Returns a default in at most one line.
fn short(default: &str) -> String {
    const SHOWN: usize = 72;
    match default.char_indices().nth(SHOWN) {
        None => default.to_owned(),
        Some((end, _)) => format!("{}… (all: -v)", &default[..end]),
    }
}

/// Returns a type in a few words.
pub fn kind(schema: &Value) -> String {
    if let Some(cases) = schema.get("enum").and_then(Value::as_array) {
        let cases: Vec<_> = cases
            .iter()
            .map(|case| {
                case.as_str()
                    .map_or_else(|| case.to_string(), str::to_owned)
            })
            .collect();
        return cases.join(" | ");
    }
    if let Some(cases) = ["oneOf", "anyOf"]
        .iter()
        .find_map(|key| schema.get(key)?.as_array())
    {
        return cases.iter().map(kind).collect::<Vec<_>>().join(" | ");
    }
    match &schema["type"] {
        Value::String(word) if word == "array" => format!("list of {}", kind(&schema["items"])),
        Value::String(word) if word == "object" && schema["additionalProperties"].is_object() => {
            format!(
                "mapping of text to {}",
                kind(&schema["additionalProperties"])
            )
        }
        Value::String(word) => word.clone(),
        Value::Array(words) => words
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "any".to_owned(),
    }
}
