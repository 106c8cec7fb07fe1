//! A value with the line of every node, so that a finding can name the line of the field and not
//! only the file.

use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;

/// A node and its line.
#[derive(Debug, Clone)]
pub struct Located {
    line: u32,
    node: Node,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Scalar(Value),
    List(Box<[Located]>),
    Object(Box<[Entry]>),
}

/// A member of an object.
pub type Entry = (Arc<str>, Located);

/// The keys of a file's objects, each held once: tens of thousands of objects share a few keys.
#[derive(Default)]
pub(super) struct Keys(HashSet<Arc<str>>);

impl Keys {
    /// Returns the key that equals the text.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(key) = self.0.get(text) {
            return Arc::clone(key);
        }
        let key = Arc::from(text);
        self.0.insert(Arc::clone(&key));
        key
    }
}

impl Located {
    /// Creates a node at a line, from 1.
    pub(super) fn new(line: usize, node: Node) -> Self {
        Self {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            node,
        }
    }

    /// Returns the node as seen from a line that refers to it.
    pub(super) fn at(self, line: usize) -> Self {
        Self::new(line, self.node)
    }

    /// Returns the line, from 1.
    pub fn line(&self) -> usize {
        self.line as usize
    }

    /// Returns the value, without the lines.
    pub fn value(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::List(items) => items.iter().map(Self::value).collect(),
            Node::Object(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.to_string(), value.value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Returns the value of a scalar.
    pub(super) fn scalar(&self) -> Option<&Value> {
        match &self.node {
            Node::Scalar(value) => Some(value),
            _ => None,
        }
    }

    /// Returns true if it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.node, Node::Scalar(Value::Null))
    }

    /// Returns the text of a scalar that is a string.
    pub fn text(&self) -> Option<&str> {
        self.scalar().and_then(Value::as_str)
    }

    /// Returns a member of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(name, _)| **name == *key)
            .map(|(_, value)| value)
    }

    /// Returns the members of an object, in their order; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.node {
            Node::Object(entries) => entries,
            _ => &[],
        }
    }

    /// Returns true if it is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.node, Node::Object(_))
    }

    /// Returns true if it is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.node, Node::List(_))
    }

    /// Returns the items of a list; empty for anything else.
    pub fn items(&self) -> &[Self] {
        match &self.node {
            Node::List(items) => items,
            _ => &[],
        }
    }

    /// Takes the items out of a member that is a list; empty for anything else.
    pub fn into_items(self, key: &str) -> Vec<Self> {
        let Node::Object(entries) = self.node else {
            return vec![];
        };
        match entries
            .into_vec()
            .into_iter()
            .find(|(name, _)| **name == *key)
            .map(|(_, value)| value.node)
        {
            Some(Node::List(items)) => items.into_vec(),
            _ => vec![],
        }
    }

    /// Sets a text member of an object, at the object's own line.
    pub fn set(&mut self, key: &str, text: &str) {
        let member = Self {
            line: self.line,
            node: Node::Scalar(text.into()),
        };
        let Node::Object(entries) = &mut self.node else {
            return;
        };
        match entries.iter_mut().find(|(name, _)| **name == *key) {
            Some((_, value)) => *value = member,
            None => {
                let all = std::mem::take(entries)
                    .into_vec()
                    .into_iter()
                    .chain([(Arc::from(key), member)]);
                *entries = all.collect();
            }
        }
    }

    /// Takes the members out of an object.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        match self.node {
            Node::Object(entries) => entries.into_vec(),
            _ => vec![],
        }
    }

    /// Returns the line of the deepest node on a field path such as `spec.ports[1].nodePort`.
    pub fn line_of(&self, field: &str) -> usize {
        let mut node = self;
        for step in steps(field) {
            let next = match step.parse::<usize>() {
                Ok(index) if node.is_list() => node.items().get(index),
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

/// Splits a field path: `metadata.labels["a.b/c"]` is `metadata`, `labels`, `a.b/c`.
pub fn steps(field: &str) -> Vec<String> {
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
