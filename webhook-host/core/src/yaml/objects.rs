//! The objects that `kubectl` sends, one by one: documents, with lists opened (`StreamVisitor` and
//! `FlattenListVisitor` in k8s.io/cli-runtime).
//!
//! An object with `items` is a list. Items without `kind` and `apiVersion` get those of their list,
//! without the suffix `List`. Lists within lists are refused.

use super::node::Located;
use super::{Documents, YamlError};

/// The objects of a text. After an error the next document follows, if its beginning is clear.
pub struct Objects<'a> {
    documents: Documents<'a>,
    /// The list whose items are being returned.
    items: std::vec::IntoIter<Located>,
    list: ListMeta,
}

/// An object that `kubectl` refuses.
#[derive(Debug)]
pub struct Refused {
    /// The reason, as a phrase about the object, and its place.
    pub error: YamlError,
    /// The node that was read; `None` where the text itself is at fault.
    pub node: Option<Located>,
}

/// The members that items of a list may leave out.
#[derive(Default)]
struct ListMeta {
    item_kind: String,
    api_version: String,
}

impl<'a> Objects<'a> {
    /// Creates the objects of a file's text.
    pub fn new(text: &'a str) -> Self {
        Self {
            documents: Documents::new(text),
            items: vec![].into_iter(),
            list: ListMeta::default(),
        }
    }

    /// Returns an object that belongs to no list, or the first item of a list.
    fn document(&mut self, document: Located) -> Option<Result<Located, Refused>> {
        if document.get("items").is_none() {
            return Some(checked(document));
        }
        let document = match checked(document) {
            Ok(document) => document,
            refused => return Some(refused),
        };
        if !document
            .get("items")
            .is_some_and(|items| items.is_list() || items.is_null())
        {
            return Some(refuse(
                document,
                "has items that are no list, so kubectl refuses it",
            ));
        }
        let text = |key: &str| text(&document, key).unwrap_or_default();
        let item_kind = text("kind")
            .strip_suffix("List")
            .unwrap_or(text("kind"))
            .to_owned();
        self.list = ListMeta {
            item_kind,
            api_version: text("apiVersion").to_owned(),
        };
        self.items = document.into_items("items").into_iter();
        self.next()
    }

    fn item(&self, mut item: Located) -> Result<Located, Refused> {
        if item.get("items").is_some() {
            return refuse(
                item,
                "is a list within a list, which kubectl refuses; write its items into the outer \
                 one",
            );
        }
        if text(&item, "kind").is_none() && text(&item, "apiVersion").is_none() {
            item.set("kind", &self.list.item_kind);
            item.set("apiVersion", &self.list.api_version);
        }
        checked(item)
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<Located, Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(item) = self.items.next() {
            return Some(self.item(item));
        }
        match self.documents.next()? {
            Ok(document) => self.document(document),
            Err(error) => Some(Err(Refused { error, node: None })),
        }
    }
}

fn checked(node: Located) -> Result<Located, Refused> {
    if !node.is_object() {
        return refuse(node, "is no object; kubectl applies objects only");
    }
    for key in ["kind", "apiVersion"] {
        if text(&node, key).is_none() {
            return refuse(node, &format!("has no {key}, so kubectl refuses it"));
        }
    }
    Ok(node)
}

fn refuse(node: Located, problem: &str) -> Result<Located, Refused> {
    let error = YamlError {
        line: node.line(),
        problem: problem.to_owned(),
    };
    Err(Refused {
        error,
        node: Some(node),
    })
}

/// Returns a member that is a text and not empty.
fn text<'a>(node: &'a Located, key: &str) -> Option<&'a str> {
    node.get(key)
        .and_then(Located::text)
        .filter(|text| !text.is_empty())
}
