//! YAML with the line of every node, so that a finding can name the line of the field and not only the file.

use crate::yaml::YamlError;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;
use std::fmt;

/// A node and where it stands.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::cli) struct Located(Spanned<Node>);

#[derive(Debug)]
enum Node {
    Scalar(Value),
    List(Vec<Located>),
    Object(Vec<(String, Located)>),
}

/// The documents of a file, empty ones left out.
///
/// # Errors
///
/// The first syntax error, with its place.
pub(in crate::cli) fn documents(text: &str) -> Result<Vec<Located>, YamlError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let documents: Vec<Located> = serde_saphyr::from_multiple_with_options(text, options).map_err(YamlError::from)?;
    Ok(documents.into_iter().filter(|document| !document.value().is_null()).collect())
}

impl Located {
    /// From 1.
    pub(in crate::cli) fn line(&self) -> usize {
        usize::try_from(self.0.referenced.line()).unwrap_or(1).max(1)
    }

    /// Without the lines.
    pub(in crate::cli) fn value(&self) -> Value {
        match &self.0.value {
            Node::Scalar(value) => value.clone(),
            Node::List(items) => items.iter().map(Self::value).collect(),
            Node::Object(entries) => {
                Value::Object(entries.iter().map(|(key, value)| (key.clone(), value.value())).collect::<Map<_, _>>())
            }
        }
    }

    /// A member of an object.
    pub(in crate::cli) fn get(&self, key: &str) -> Option<&Self> {
        let Node::Object(entries) = &self.0.value else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Takes a member out of an object.
    pub(in crate::cli) fn into_member(self, key: &str) -> Option<Self> {
        let Node::Object(entries) = self.0.value else { return None };
        entries.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The items, when it is a list.
    pub(in crate::cli) fn into_items(self) -> Vec<Self> {
        match self.0.value {
            Node::List(items) => items,
            _ => vec![],
        }
    }

    /// The items of a list.
    fn items(&self) -> &[Self] {
        match &self.0.value {
            Node::List(items) => items,
            _ => &[],
        }
    }

    /// The line of the deepest node on a field path such as `spec.ports[1].nodePort`.
    pub(in crate::cli) fn line_of(&self, field: &str) -> usize {
        let mut node = self;
        for step in steps(field) {
            let next = match step.parse::<usize>() {
                Ok(index) if matches!(node.0.value, Node::List(_)) => node.items().get(index),
                _ => node.get(&step),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line()
    }
}

/// `metadata.labels["a.b/c"]` is `metadata`, `labels`, `a.b/c`.
pub(in crate::cli) fn steps(field: &str) -> Vec<String> {
    let (mut steps, mut step, mut quoted) = (vec![], String::new(), false);
    for c in field.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' | '[' | ']' if !quoted => {
                if !step.is_empty() {
                    steps.push(std::mem::take(&mut step));
                }
            }
            _ => step.push(c),
        }
    }
    if !step.is_empty() {
        steps.push(step);
    }
    steps
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = vec![];
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = vec![];
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# head\nkind: Service\nmetadata:\n  labels:\n    a.b/c: d\nspec:\n  ports:\n  - port: 80\n  - port: 81\n    nodePort: 1\n---\nkind: B\n";

    #[test]
    fn a_field_has_the_line_of_its_deepest_known_node() {
        let documents = documents(TEXT).expect("valid");
        let service = &documents[0];
        assert_eq!(service.line_of("spec.ports[1].nodePort"), 10);
        assert_eq!(service.line_of("spec.ports[1].name"), 9);
        assert_eq!(service.line_of(r#"metadata.labels["a.b/c"]"#), 5);
        assert_eq!(service.line_of(""), 2);
        assert_eq!(documents[1].line(), 12);
    }

    #[test]
    fn values_are_the_same_as_without_lines() {
        let text = "a: [1, -2, 3.5, true, null, \"80\", yes]\nb: {c: }\n";
        let values: Vec<_> = documents(text).expect("valid").iter().map(Located::value).collect();
        assert_eq!(values, crate::yaml::documents(text).expect("valid"));
    }

    #[test]
    fn a_duplicate_key_is_an_error() {
        assert!(documents("a: 1\na: 2\n").is_err());
    }
}
