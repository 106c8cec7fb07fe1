//! Whether webhooks are as they should be, and how they come to be: values in, values out.

use crate::webhooks::registration::WEBHOOKS;
use serde_json::{Map, Value, json};

/// How the webhooks of a configuration should be.
pub(super) struct Shape<'a> {
    wanted: &'a [Value],
    /// Whether the authorities that are told already stay.
    keeps_bundle: bool,
}

impl<'a> Shape<'a> {
    pub(super) fn new(wanted: &'a Value, keeps_bundle: bool) -> Self {
        Self {
            wanted: list(&wanted["webhooks"]),
            keeps_bundle,
        }
    }

    /// Whether webhooks have this shape.
    pub(super) fn fits(&self, found: &Value) -> bool {
        let found = list(found);
        found.len() == self.wanted.len()
            && self.wanted.iter().all(|wanted| {
                named(found, wanted).is_some_and(|found| {
                    normal(found) == normal(&self.with_bundle(wanted, Some(found)))
                })
            })
    }

    /// What to write in place of what was found.
    pub(super) fn laid_over(&self, found: &Value) -> Value {
        let found = list(found);
        self.wanted
            .iter()
            .map(|wanted| self.with_bundle(wanted, named(found, wanted)))
            .collect()
    }

    fn with_bundle(&self, wanted: &Value, found: Option<&Value>) -> Value {
        let mut webhook = wanted.clone();
        let told = found.map(|found| &found["clientConfig"]["caBundle"]);
        let told = told
            .filter(|told| self.keeps_bundle && told.as_str().is_some_and(|text| !text.is_empty()));
        if let Some(told) = told {
            webhook["clientConfig"]["caBundle"] = told.clone();
        }
        webhook
    }
}

/// Whether no webhook is somebody else's.
pub(super) fn is_all_ours(found: &Value) -> bool {
    list(found).iter().all(|webhook| {
        webhook["name"]
            .as_str()
            .is_some_and(|name| WEBHOOKS.contains(&name))
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn named<'f>(found: &'f [Value], wanted: &Value) -> Option<&'f Value> {
    found.iter().find(|found| found["name"] == wanted["name"])
}

/// With the defaults that an API server writes in, and without what means nothing.
fn normal(webhook: &Value) -> Map<String, Value> {
    let mut webhook = webhook.as_object().cloned().unwrap_or_default();
    for selector in ["namespaceSelector", "objectSelector"] {
        webhook.entry(selector).or_insert_with(|| json!({}));
    }
    webhook.retain(|_, value| !value.is_null() && !value.as_array().is_some_and(Vec::is_empty));
    webhook
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(bundle: &str, failure_policy: &str) -> Value {
        json!({"webhooks": [{
            "name": "validate.sallyport.dev", "failurePolicy": failure_policy,
            "clientConfig": {"service": {"name": "sallyport"}, "caBundle": bundle},
        }]})
    }

    #[test]
    fn what_an_api_server_adds_changes_no_shape() {
        let wanted = configuration("a", "Fail");
        let mut found = wanted["webhooks"].clone();
        found[0]["objectSelector"] = json!({});
        found[0]["namespaceSelector"] = json!({});
        assert!(Shape::new(&wanted, false).fits(&found));
    }

    #[test]
    fn whatever_somebody_changes_is_seen_and_mended() {
        let wanted = configuration("a", "Fail");
        let changes: [fn(&mut Value); 5] = [
            |found| found[0]["failurePolicy"] = "Ignore".into(),
            |found| found[0]["objectSelector"] = json!({"matchLabels": {"a": "b"}}),
            |found| found[0]["matchConditions"] = json!([{"name": "never", "expression": "false"}]),
            |found| *found = json!([]),
            |found| {
                found
                    .as_array_mut()
                    .expect("a list")
                    .push(json!({"name": "other.example.com"}))
            },
        ];
        for change in changes {
            let mut found = wanted["webhooks"].clone();
            change(&mut found);
            let shape = Shape::new(&wanted, true);
            assert!(!shape.fits(&found), "{found}");
            assert!(shape.fits(&shape.laid_over(&found)), "{found}");
        }
    }

    #[test]
    fn a_bundle_that_somebody_else_keeps_stays_unless_it_is_empty() {
        let wanted = configuration("first", "Fail");
        let found = |bundle: &str| configuration(bundle, "Ignore")["webhooks"].clone();
        let told = |shape: &Shape<'_>, bundle: &str| {
            shape.laid_over(&found(bundle))[0]["clientConfig"]["caBundle"]
                .as_str()
                .map(str::to_owned)
        };
        let (kept, written) = (Shape::new(&wanted, true), Shape::new(&wanted, false));
        assert_eq!(told(&kept, "newer").as_deref(), Some("newer"));
        assert_eq!(told(&kept, "").as_deref(), Some("first"));
        assert_eq!(told(&written, "newer").as_deref(), Some("first"));
    }

    #[test]
    fn a_configuration_with_a_webhook_of_somebody_else_is_not_all_ours() {
        assert!(is_all_ours(&configuration("a", "Fail")["webhooks"]));
        assert!(!is_all_ours(
            &json!([{"name": "validate.sallyport.dev"}, {"name": "other.example.com"}])
        ));
    }
}
