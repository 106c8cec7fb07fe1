//! Compares the webhooks of a configuration with the wanted ones, and builds those to write. Pure
//! functions.

use crate::webhooks::registration::WEBHOOKS;
use serde_json::{Map, Value, json};

/// The wanted webhooks of a configuration.
pub(super) struct Shape<'a> {
    wanted: &'a [Value],
    /// True when an existing `caBundle` is kept.
    keeps_bundle: bool,
}

impl<'a> Shape<'a> {
    pub(super) fn new(wanted: &'a Value, keeps_bundle: bool) -> Self {
        Self {
            wanted: list(&wanted["webhooks"]),
            keeps_bundle,
        }
    }

    /// Returns true when the webhooks found have this shape.
    pub(super) fn fits(&self, found: &Value) -> bool {
        let found = list(found);
        found.len() == self.wanted.len()
            && self.wanted.iter().all(|wanted| {
                named(found, wanted).is_some_and(|found| {
                    normal(found) == normal(&self.with_bundle(wanted, Some(found)))
                })
            })
    }

    /// Returns the wanted webhooks, with the bundles of those found where these are kept.
    pub(super) fn merged(&self, found: &Value) -> Value {
        let found = list(found);
        self.wanted
            .iter()
            .map(|wanted| self.with_bundle(wanted, named(found, wanted)))
            .collect()
    }

    fn with_bundle(&self, wanted: &Value, found: Option<&Value>) -> Value {
        let mut webhook = wanted.clone();
        let bundle = found.map(|found| &found["clientConfig"]["caBundle"]);
        let bundle = bundle.filter(|bundle| {
            self.keeps_bundle && bundle.as_str().is_some_and(|text| !text.is_empty())
        });
        if let Some(bundle) = bundle {
            webhook["clientConfig"]["caBundle"] = bundle.clone();
        }
        webhook
    }
}

/// Returns true when every webhook found is Sallyport's.
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

/// Fills in the API server's defaults and drops empty fields.
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
            assert!(shape.fits(&shape.merged(&found)), "{found}");
        }
    }

    #[test]
    fn a_foreign_bundle_stays_unless_it_is_empty() {
        let wanted = configuration("first", "Fail");
        let found = |bundle: &str| configuration(bundle, "Ignore")["webhooks"].clone();
        let bundle = |shape: &Shape<'_>, bundle: &str| {
            shape.merged(&found(bundle))[0]["clientConfig"]["caBundle"]
                .as_str()
                .map(str::to_owned)
        };
        let (kept, written) = (Shape::new(&wanted, true), Shape::new(&wanted, false));
        assert_eq!(bundle(&kept, "newer").as_deref(), Some("newer"));
        assert_eq!(bundle(&kept, "").as_deref(), Some("first"));
        assert_eq!(bundle(&written, "newer").as_deref(), Some("first"));
    }

    #[test]
    fn a_foreign_webhook_makes_a_configuration_not_ours() {
        assert!(is_all_ours(&configuration("a", "Fail")["webhooks"]));
        assert!(!is_all_ours(
            &json!([{"name": "validate.sallyport.dev"}, {"name": "other.example.com"}])
        ));
    }
}
