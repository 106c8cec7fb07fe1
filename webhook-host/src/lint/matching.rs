//! Finds label selectors that nothing can match.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use sallyport_core::inventory::NAME_LABEL;
use std::collections::{BTreeMap, BTreeSet};

/// The requirements of a selector for one label.
#[derive(Default)]
struct LabelRequirement<'a> {
    /// The allowed values, if they are limited.
    among: Option<BTreeSet<&'a str>>,
    without: BTreeSet<&'a str>,
    present: bool,
    absent: bool,
}

/// Returns the first label with contradictory requirements. Every namespace has the label with its
/// name, and those that are excluded have another one.
pub(super) fn contradiction(selector: &LabelSelector, excluded: &[String]) -> Option<String> {
    let name = LabelRequirement {
        present: true,
        without: excluded.iter().map(String::as_str).collect(),
        ..LabelRequirement::default()
    };
    let mut labels = BTreeMap::from([(NAME_LABEL, name)]);
    for (key, value) in selector.match_labels.iter().flatten() {
        labels
            .entry(key)
            .or_default()
            .one_of(BTreeSet::from([value.as_str()]));
    }
    for requirement in selector.match_expressions.iter().flatten() {
        let values: BTreeSet<&str> = requirement
            .values
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let asked = labels.entry(&requirement.key).or_default();
        match requirement.operator.as_str() {
            "In" => asked.one_of(values),
            "NotIn" => asked.without.extend(values),
            "Exists" => asked.present = true,
            "DoesNotExist" => asked.absent = true,
            _ => {}
        }
    }
    labels
        .into_iter()
        .find(|(_, asked)| asked.is_impossible())
        .map(|(key, _)| key.to_owned())
}

impl<'a> LabelRequirement<'a> {
    fn one_of(&mut self, values: BTreeSet<&'a str>) {
        self.among = Some(match self.among.take() {
            Some(known) => known.intersection(&values).copied().collect(),
            None => values,
        });
    }

    fn is_impossible(&self) -> bool {
        let none_left = self
            .among
            .as_ref()
            .is_some_and(|among| among.is_subset(&self.without));
        none_left || (self.absent && (self.present || self.among.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn contradictions_are_found_and_nothing_else_is() {
        let expression = |key: &str, operator: &str, values: &[&str]| {
            json!({
                "key": key, "operator": operator, "values": values,
            })
        };
        for (labels, expressions, expected) in [
            (json!({}), vec![], None),
            (
                json!({"a": "1"}),
                vec![expression("a", "In", &["1", "2"])],
                None,
            ),
            (
                json!({}),
                vec![
                    expression("a", "NotIn", &["1"]),
                    expression("a", "DoesNotExist", &[]),
                ],
                None,
            ),
            (
                json!({}),
                vec![
                    expression("a", "Exists", &[]),
                    expression("b", "DoesNotExist", &[]),
                ],
                None,
            ),
            (
                json!({"a": "1"}),
                vec![expression("a", "In", &["2"])],
                Some("a"),
            ),
            (
                json!({"a": "1"}),
                vec![expression("a", "NotIn", &["1"])],
                Some("a"),
            ),
            (json!({}), vec![expression("a", "In", &[])], Some("a")),
            (
                json!({}),
                vec![
                    expression("b", "Exists", &[]),
                    expression("b", "DoesNotExist", &[]),
                ],
                Some("b"),
            ),
        ] {
            let selector = json!({"matchLabels": labels, "matchExpressions": expressions});
            let selector: LabelSelector =
                serde_json::from_value(selector.clone()).expect("a selector");
            assert_eq!(
                contradiction(&selector, &[]).as_deref(),
                expected,
                "{selector:?}"
            );
        }
    }
    #[test]
    fn the_namespaces_name_is_a_label_that_each_has() {
        let found = |expressions: serde_json::Value, excluded: &[&str]| {
            let selector = json!({"matchExpressions": expressions});
            let selector: LabelSelector = serde_json::from_value(selector).expect("a selector");
            let excluded: Vec<_> = excluded.iter().map(|&name| name.to_owned()).collect();
            contradiction(&selector, &excluded)
        };
        let name = |operator: &str, values: &[&str]| {
            let key = NAME_LABEL;
            json!([{"key": key, "operator": operator, "values": values}])
        };
        assert!(found(name("DoesNotExist", &[]), &[]).is_some());
        assert!(found(name("In", &["a", "b"]), &["a", "b", "c"]).is_some());
        assert!(found(name("In", &["a", "b"]), &["b"]).is_none());
        assert!(found(json!([]), &["a"]).is_none());
    }
}
