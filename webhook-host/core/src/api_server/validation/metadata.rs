//! Name, namespace, labels and annotations.

use super::{KEY_FORM, NAME_FORM, NAMESPACE, Refusals};
use crate::api_server::names::{is_label_value, is_qualified};
use crate::api_server::words;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
/// Bytes of all annotations together.
const MAX_ANNOTATIONS: usize = 256 << 10;

impl Refusals {
    pub(super) fn metadata(&mut self, meta: &ObjectMeta) {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (text(&meta.name), text(&meta.generate_name)) {
            (Some(name), _) => self.label("metadata.name", &name),
            // The server appends letters, so a hyphen may end it.
            (None, Some(prefix)) => self.label(
                "metadata.generateName",
                &format!("{}a", prefix.trim_end_matches('-')),
            ),
            (None, None) => {
                self.add("metadata.name", "a Service needs a name", "write one");
            }
        }
        if let Some(namespace) = text(&meta.namespace) {
            self.label(NAMESPACE, &namespace);
        }
        self.pairs("metadata.labels", meta.labels.as_ref());
        let annotations = meta.annotations.iter().flatten();
        for (key, _) in annotations
            .clone()
            .filter(|(key, _)| !is_qualified(&key.to_lowercase()))
        {
            self.add(
                format!("metadata.annotations[{key:?}]"),
                "not a valid key of an annotation",
                KEY_FORM,
            )
            .says(|| words::key(&key.to_lowercase()).filter(|_| *key == key.to_lowercase()))
            .at("metadata.annotations");
        }
        let size: usize = annotations
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let problem = format!("{size} bytes; annotations have at most {MAX_ANNOTATIONS}");
        self.require(size <= MAX_ANNOTATIONS, "metadata.annotations", problem, "");
        self.topology(meta.annotations.as_ref());
    }

    fn topology(&mut self, annotations: Option<&BTreeMap<String, String>>) {
        let value = |key: &str| annotations.and_then(|annotations| annotations.get(key));
        if let (Some(mode), Some(hints)) = (value(TOPOLOGY_MODE), value(TOPOLOGY_HINTS)) {
            let field = format!("metadata.annotations[{TOPOLOGY_MODE:?}]");
            let problem = format!("{mode:?} differs from {hints:?} in {TOPOLOGY_HINTS}");
            self.require(
                mode == hints,
                &field,
                problem,
                "keep one of the two annotations",
            );
        }
    }

    /// Checks labels, of the Service or in its selector.
    pub(super) fn pairs(&mut self, map: &str, pairs: Option<&BTreeMap<String, String>>) {
        for (key, value) in pairs.into_iter().flatten() {
            let field = format!("{map}[{key:?}]");
            self.require(
                is_qualified(key),
                &field,
                "not a valid key of a label",
                KEY_FORM,
            )
            .says(|| words::key(key))
            .at(map);
            let problem = format!("{value:?} is not a valid value of a label");
            self.require(is_label_value(value), &field, problem, NAME_FORM)
                .says(|| words::label_value(value))
                .at(map);
        }
    }
}
