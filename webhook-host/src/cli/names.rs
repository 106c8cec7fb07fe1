//! Names of objects and users on a command line.

use clap::builder::NonEmptyStringValueParser;
use sallyport_core::manifest::is_label;

/// Parses the name of a namespace or a Service, a label of DNS (RFC 1123).
///
/// # Errors
///
/// When no such object can have it.
pub(super) fn label(text: &str) -> Result<String, String> {
    match is_label(text) {
        true => Ok(text.to_owned()),
        false => Err("use lower-case letters, digits and '-', at most 63 characters".to_owned()),
    }
}

/// Parses the name of a user or a group: any text but an empty one.
pub(super) fn user() -> NonEmptyStringValueParser {
    NonEmptyStringValueParser::new()
}
