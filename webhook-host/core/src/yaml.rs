//! YAML (and so JSON) text into values, the way `kubectl` reads it.
//!
//! Role: every file that users write is read here. Invariants: the values are those that `kubectl
//! apply` would send to the API server, or there is an error with its line (a differential test
//! compares with a real `kubectl`). Reading a file takes time and memory in proportion to its
//! bytes, since nesting and the copies by aliases are limited.

mod document;
mod json;
pub mod node;
mod objects;
mod scalar;
mod stream;

use serde_json::Value;

pub use node::{Located, steps};
pub use objects::{Objects, Refused};
pub use stream::Documents;

/// Levels of objects and lists. A Service has 5, a CustomResourceDefinition 30. Bounded because
/// readers of the values recurse.
const MAX_DEPTH: usize = 100;
/// Bytes that the aliases of one file may repeat: more than charts do, less than a "billion laughs"
/// needs.
const MAX_REPEATED: usize = 16 << 20;

/// The reason why a text can't be read. Displays with its line.
#[derive(Debug, Clone, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct YamlError {
    line: usize,
    problem: String,
}

impl YamlError {
    /// Returns the line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the problem and the fix, without the line.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// Parses the documents of a file; empty ones are left out.
///
/// # Errors
///
/// The first syntax error or duplicate key, with its line.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    Documents::new(text)
        .map(|document| document.map(|document| document.value()))
        .collect()
}

/// Parses the documents of a file with the line of every node; empty ones are left out.
///
/// # Errors
///
/// The first syntax error or duplicate key, with its line.
pub fn located_documents(text: &str) -> Result<Vec<Located>, YamlError> {
    Documents::new(text).collect()
}

/// Returns the objects that `kubectl apply` would send to the API server: lists become their items.
///
/// # Errors
///
/// The first part that `kubectl` would refuse, or would read with another meaning than intended.
pub fn objects(text: &str) -> Result<Vec<Value>, YamlError> {
    Objects::new(text)
        .map(|object| {
            object
                .map(|object| object.value())
                .map_err(|refused| refused.error)
        })
        .collect()
}

/// Writes a value as YAML, in block style, with a final newline.
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
        let text =
            "# a comment\n---\nkind: A\n---\n---\nkind: B\nport: 30080\nname: \"80\"\nempty:\n";
        let expected = vec![
            json!({"kind": "A"}),
            json!({"kind": "B", "port": 30080, "name": "80", "empty": null}),
        ];
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
    fn problems_have_a_line() {
        for (text, line, part) in [
            ("a: 1\nb: 2\na: 3\n", 3, "the key \"a\" stands twice"),
            (
                "a: 1\n---\nb:\n  yes: 1\n  \"true\": 2\n",
                5,
                "the key \"true\" stands twice",
            ),
            ("{\"a\": 1,\n \"a\": 2}", 2, "the key \"a\" stands twice"),
            ("a: 1\n--- b\n", 2, "begin the document on the next line"),
            (
                "a: 1\n...\n---\nb: 1\n...\n# c\n--- # d\ne: [\n",
                9,
                "not valid YAML",
            ),
            ("a: 1\n...\nb: 2\n", 3, "not valid YAML"),
            ("%YAML 1.2\n--- # c\na: 1\n", 2, "not valid YAML"),
            ("a: 1\nb: \u{feff}c\n", 2, "byte order mark"),
            ("a: 1\nb: {c: d?e}\n", 2, "question mark"),
            ("a: 1\nb: \"c\\/d\"\n", 2, "kubectl refuses"),
            ("a: 1\nb: *c\n", 2, "&c is unknown"),
            ("a: &a\n  b: *a\n", 2, "&a contains itself"),
            ("a: 1\n<<: b\n", 2, "<< needs an object"),
            ("a: 1\n~: b\n", 2, "a key that is null"),
            ("a: .inf\n", 1, "quote it"),
            ("{\"a\":\n1} b", 2, "not valid JSON"),
            ("a: [!b,c]\n", 1, "exclamation mark"),
        ] {
            let error = documents(text).expect_err(text);
            assert!(
                error.line() == line && error.problem().contains(part),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn after_a_broken_document_the_next_one_follows() {
        let read: Vec<_> = Documents::new("a: [\n---\nb: 1\nb: 2\n---\nc: 3\n")
            .map(|document| document.is_ok())
            .collect();
        assert_eq!(read, [false, false, true]);
        let read: Vec<_> = Documents::new("{\"a\": 1, \"a\": 2} {\"b\": 1} [")
            .map(|document| document.is_ok())
            .collect();
        assert_eq!(read, [false, true, false]);
    }

    #[test]
    fn line_breaks_of_unicode_end_a_comment() {
        for line_break in ['\u{85}', '\u{2028}', '\u{2029}', '\r'] {
            let text = format!("# a{line_break}type: NodePort\n");
            assert_eq!(
                documents(&text).expect("valid"),
                vec![json!({"type": "NodePort"})],
                "{line_break:?}"
            );
        }
    }

    #[test]
    fn merge_keys_act_where_they_stand() {
        let read = |text: &str| {
            documents(&format!("x: &x {{t: 1}}\ny: &y {{t: 2, u: 2}}\nz:\n{text}")).expect("valid")
                [0]["z"]
                .take()
        };
        for (text, expected) in [
            ("  t: 0\n  <<: *x\n", json!({"t": 1})),
            ("  <<: *x\n  t: 0\n", json!({"t": 0})),
            ("  <<: *x\n  <<: *y\n", json!({"t": 2, "u": 2})),
            ("  <<: [*x, *y]\n", json!({"t": 1, "u": 2})),
            ("  \"<<\": *x\n", json!({"<<": {"t": 1}})),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_node_has_the_line_where_it_stands() {
        let text = "# head\nkind: Service\nmetadata:\n  labels:\n    a.b/c: \
            d\nspec:\n  ports:\n  - port: 80\n  - port: 81\n    nodePort: 1\n---\nkind: B\n";
        let documents: Vec<_> = Documents::new(text)
            .collect::<Result<_, _>>()
            .expect("valid");
        let service = &documents[0];
        assert_eq!(service.line_of("spec.ports[1].nodePort"), 10);
        assert_eq!(service.line_of("spec.ports[1].name"), 9);
        assert_eq!(service.line_of(r#"metadata.labels["a.b/c"]"#), 5);
        assert_eq!(service.line_of(""), 2);
        assert_eq!(documents[1].line(), 12);
        let json: Vec<_> = Documents::new("{\"a\": [\n1,\n2]}\n{\"b\": 3}")
            .collect::<Result<_, _>>()
            .expect("valid");
        assert_eq!((json[0].line_of("a[1]"), json[1].line()), (3, 4));
    }

    #[test]
    fn aliases_may_repeat_some_mebibytes_only() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            text += &format!(
                "a{i}: &a{i} [*a{p},*a{p},*a{p},*a{p},*a{p},*a{p},*a{p},*a{p}]\n",
                p = i - 1
            );
        }
        let error = documents(&text).expect_err("a bomb").to_string();
        assert!(error.contains("aliases repeat too much"), "{error}");
        // In many documents, too.
        let long = format!(
            "a: &a {}\nb: [*a, *a, *a, *a, *a, *a, *a, *a]\n---\n",
            "x".repeat(100_000)
        );
        assert!(documents(&long.repeat(10)).is_ok());
        assert!(documents(&long.repeat(40)).is_err());
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(documents(&nested(90)).is_ok());
        let json = format!("{{\"a\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for text in [nested(10_000), json] {
            let error = documents(&text).expect_err("deep").to_string();
            assert!(error.contains("nested deeper than 100 levels"), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!({"a": "yes", "b": ["1", 2, null], "c": {"d/e": "x: \
            y"}, "f": "line\nline", "g": [], "h": {}});
        assert_eq!(
            documents(&to_string(&value)).expect("own output"),
            vec![value]
        );
        for text in [
            "y",
            "On",
            "~",
            "",
            "017",
            "0o17",
            "0x1f",
            "0b1",
            "1_000",
            "1_",
            "+80",
            "08",
            ".5",
            "1e3",
            "1.",
            ".inf",
            ".5_0",
            "<<",
            "=",
            "2024-01-01",
            "1:30",
            "a\u{2028}b",
            "a\u{85}b",
            "\u{feff}",
            "a # b",
            "a: b",
            "a:",
            "- a",
            "? a",
            "!a,",
            " a ",
            "a\tb",
            "\ta",
            "a\n",
            "\na",
            "a\n\n b\n",
            "---",
            "...",
            "--- a\nb",
            "\0",
            "'",
            "\"",
            "\\/",
            "@a",
            "%a",
            "{a",
            "]",
            "&a",
            "*a",
            "#a",
            "|",
            ">",
            "`",
            "a\r\nb",
            "null",
            "http://a/?b",
            "\u{7f}",
            "-",
            "--",
            "-1",
            "0",
            "é😀",
        ] {
            let value = json!({"a": text, "b": [text], text: 1});
            let written = to_string(&value);
            let read =
                documents(&written).unwrap_or_else(|error| panic!("{text:?}: {error}\n{written}"));
            assert_eq!(read, vec![value], "{text:?}\n{written}");
        }
    }
}
