//! Finds ranges in the settings of policies that contradict the range of node ports of the cluster.
//!
//! A policy counts if its description is about node ports alone: then a `{from, to}` among its
//! settings is a range of node ports.

use super::files::File;
use super::finding;
use sallyport_core::contract::description::About;
use sallyport_core::contract::review::PortRange;
use sallyport_core::decode::join;
use sallyport_core::inventory::Inventory;
use sallyport_core::manifest::{HostConfig, HostConfigSpec};
use sallyport_core::policy::Policy;
use sallyport_core::report::check::{Finding, Level};
use sallyport_core::yaml::Located;
use serde_json::Value;
use std::path::Path;

/// The node ports of the cluster, as a HostConfig states them.
pub(crate) struct ClusterRange {
    range: PortRange,
    /// The file of the HostConfig.
    file: String,
}

impl ClusterRange {
    /// Returns the node ports that a HostConfig states.
    pub(crate) fn of(config: HostConfigSpec, file: &Path) -> Self {
        Self {
            range: Inventory::from(config.inventory)
                .view()
                .cluster()
                .node_ports,
            file: file.display().to_string(),
        }
    }

    /// Returns the node ports of the only HostConfig among the files. Several are of several
    /// clusters, and nothing says which policies are whose.
    pub(super) fn among(files: &[File]) -> Option<Self> {
        let is_config = |document: &&Located| {
            let kind = document.get("kind").map(Located::value);
            kind.is_some_and(|kind| kind == HostConfig::KIND)
        };
        let mut configs = files
            .iter()
            .flat_map(|file| file.documents.iter().map(move |document| (file, document)))
            .filter(|(_, document)| is_config(document));
        let (Some((file, document)), None) = (configs.next(), configs.next()) else {
            return None;
        };
        let config = HostConfig::from_value(&document.value()).ok()?;
        Some(Self::of(config.spec, &file.path))
    }

    /// Returns a warning for each range of a policy that has no node port of the cluster, and a
    /// note for each that was written and has others beside them. `field` holds the settings.
    pub(super) fn findings(
        &self,
        document: &Located,
        policy: &Policy,
        field: &str,
    ) -> Vec<Finding> {
        let about = policy.description().map(|description| description.about);
        let Some(settings) = policy
            .settings()
            .filter(|_| about == Some(About::NODE_PORTS))
        else {
            return vec![];
        };
        let mut ranges = vec![];
        collect(settings, "", &mut ranges);
        ranges
            .into_iter()
            .filter_map(|(path, range)| {
                let (level, problem) = self.contradiction(range)?;
                let written = &policy.manifest().spec.settings;
                let setting = path.split(['.', '[']).next().unwrap_or_default();
                if level == Level::Note && !written.contains_key(setting) {
                    return None;
                }
                let message = format!(
                    "{range} {problem} of the cluster, which are {} by {}",
                    self.range, self.file
                );
                let fix = format!(
                    "change the range, or spec.inventory.cluster.nodePorts in {}",
                    self.file
                );
                Some(finding(level, document, &join(field, &path), message, &fix))
            })
            .collect()
    }

    fn contradiction(&self, range: PortRange) -> Option<(Level, &'static str)> {
        let PortRange { from, to } = self.range;
        if range.to < from || to < range.from {
            Some((Level::Warning, "has none of the node ports"))
        } else if range.from < from || to < range.to {
            Some((Level::Note, "goes beyond the node ports"))
        } else {
            None
        }
    }
}

/// Collects each `{from, to}` of a value with its path.
fn collect(value: &Value, path: &str, ranges: &mut Vec<(String, PortRange)>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{path}[{index}]"), ranges);
            }
        }
        Value::Object(fields) => match port_range(value) {
            Some(range) => ranges.push((path.to_owned(), range)),
            None => {
                for (key, value) in fields {
                    let is_plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric());
                    let step = match is_plain {
                        true => key.clone(),
                        false => format!("[{key:?}]"),
                    };
                    collect(value, &join(path, &step), ranges);
                }
            }
        },
        _ => {}
    }
}

fn port_range(value: &Value) -> Option<PortRange> {
    let port = |key| u16::try_from(value.get(key)?.as_u64()?).ok();
    let is_range = value.as_object().is_some_and(|fields| fields.len() == 2);
    is_range.then_some(PortRange {
        from: port("from")?,
        to: port("to")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ranges_are_found_wherever_settings_hold_them() {
        let settings = json!({
            "ranges": [{"from": 1, "to": 2}], "reserved": [], "staticOnly": true,
            "perNamespace": {"edge": [{"from": 3, "to": 3}], "team-a": [{"from": 4, "to": 5}]},
            "others": [{"from": 1}, {"from": 1, "to": "2"}, {"from": 1, "to": 2, "step": 1}],
        });
        let mut ranges = vec![];
        collect(&settings, "", &mut ranges);
        ranges.sort_by_key(|(_, range)| range.from);
        let shown: Vec<_> = ranges
            .iter()
            .map(|(path, range)| format!("{path} {range}"))
            .collect();
        let expected = [
            "ranges[0] 1-2",
            "perNamespace.edge[0] 3",
            "perNamespace[\"team-a\"][0] 4-5",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_range_contradicts_the_clusters_from_its_first_port_outside_on() {
        let cluster = ClusterRange {
            range: PortRange {
                from: 30000,
                to: 30999,
            },
            file: String::new(),
        };
        let level = |from, to| Some(cluster.contradiction(PortRange { from, to })?.0);
        for (from, to, expected) in [
            (30000, 30999, None),
            (30999, 30999, None),
            (29999, 30000, Some(Level::Note)),
            (30999, 31000, Some(Level::Note)),
            (1, 65535, Some(Level::Note)),
            (29000, 29999, Some(Level::Warning)),
            (31000, 31000, Some(Level::Warning)),
        ] {
            assert_eq!(level(from, to), expected, "{from}-{to}");
        }
    }
}
