//! YAML (and so JSON) text into values, the way `kubectl` reads it: several documents in one file, duplicate keys refused.
//!
//! Callers: `manifest`, `suite` and `cli`. Input is bounded by the parser's own budgets (depth, aliases, nodes).

use serde_json::Value;

/// Why a text is no YAML. Displays with line and column.
#[derive(Debug, thiserror::Error)]
#[error("not valid YAML: {0}")]
pub struct YamlError(String);

impl From<serde_saphyr::Error> for YamlError {
    fn from(error: serde_saphyr::Error) -> Self {
        // Advice for programmers, which helps no writer of YAML.
        Self(error.to_string().replace(", set DuplicateKeyPolicy in Options if acceptable", " stands twice; keep one"))
    }
}

/// The documents of a file, empty ones left out.
///
/// # Errors
///
/// The first syntax error or duplicate key, with its place.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(YamlError::from)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// A value as YAML, in block style, with a final newline.
///
/// # Panics
///
/// Never: every JSON value has a YAML form.
pub fn to_string(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("a JSON value has a YAML form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn several_documents_are_read_and_empty_ones_left_out() {
        let text = "# a comment\n---\nkind: A\n---\n---\nkind: B\nport: 30080\nname: \"80\"\nempty:\n";
        let expected = vec![json!({"kind": "A"}), json!({"kind": "B", "port": 30080, "name": "80", "empty": null})];
        assert_eq!(documents(text).expect("valid"), expected);
    }

    #[test]
    fn json_is_yaml() {
        assert_eq!(
            documents(r#"{"a": [1, -2, 3.5, true, null]}"#).expect("valid"),
            vec![json!({"a": [1, -2, 3.5, true, null]})]
        );
    }

    #[test]
    fn a_duplicate_key_is_an_error_with_its_place() {
        let error = documents("a: 1\nb: 2\na: 3\n").expect_err("duplicate").to_string();
        assert!(error.contains("line 3"), "{error}");
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            text += &format!("a{i}: &a{i} [*a{p},*a{p},*a{p},*a{p},*a{p},*a{p},*a{p},*a{p}]\n", p = i - 1);
        }
        assert!(documents(&text).is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!({"a": "yes", "b": ["1", 2, null], "c": {"d/e": "x: y"}, "f": "line\nline", "g": [], "h": {}});
        assert_eq!(documents(&to_string(&value)).expect("own output"), vec![value]);
    }
}
