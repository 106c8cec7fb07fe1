//! The documents of a file with the line of every node, so that a finding can name the line of the
//! field.

pub(in crate::cli) use crate::yaml::Located;
use crate::yaml::{Documents, YamlError};

/// The documents of a file, empty ones left out.
///
/// # Errors
///
/// The first syntax error, with its line.
pub(in crate::cli) fn documents(text: &str) -> Result<Vec<Located>, YamlError> {
    Documents::new(text).collect()
}
