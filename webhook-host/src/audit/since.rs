//! What was opened and closed since an earlier run of `exposures`, by its JSON.

use super::ruling::Exposure;
use crate::exposure::Door;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A door of an earlier run. What the policies said of it then is not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// `namespace/name` of its Service.
    pub service: String,
    /// The door.
    #[serde(flatten)]
    pub door: Door,
}

/// An earlier run.
#[derive(Debug, Clone, Deserialize)]
pub struct Earlier {
    /// Its time, RFC 3339.
    pub time: String,
    /// What it could not see.
    #[serde(default)]
    pub gaps: Vec<String>,
    exposures: Vec<Told>,
}

/// The reason why a file is no earlier run.
#[derive(Debug, thiserror::Error)]
#[error("expected what `sallyport exposures --output json` prints: {0}")]
pub struct EarlierError(String);

/// The difference to an earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Since {
    /// The time of the earlier run.
    pub time: String,
    /// Doors that it did not have.
    pub opened: Vec<Told>,
    /// Doors that are gone.
    pub closed: Vec<Told>,
}

impl Earlier {
    /// Reads the JSON of an earlier run.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn read(json: &[u8]) -> Result<Self, EarlierError> {
        serde_json::from_slice(json).map_err(|error| EarlierError(error.to_string()))
    }

    /// Compares with the doors of now.
    pub fn compare<'a>(self, now: impl Iterator<Item = (&'a str, &'a Exposure)>) -> Since {
        let key = |service: &str, door: &Door| format!("{service} {}", door.key());
        let mut before: BTreeMap<_, _> = self
            .exposures
            .into_iter()
            .map(|told| (key(&told.service, &told.door), told))
            .collect();
        let mut opened = vec![];
        for (service, exposure) in now {
            if before.remove(&key(service, &exposure.door)).is_none() {
                opened.push(Told {
                    service: service.to_owned(),
                    door: exposure.door.clone(),
                });
            }
        }
        let mut closed: Vec<_> = before.into_values().collect();
        for told in [&mut opened, &mut closed] {
            told.sort_by(|a, b| (a.door.opens, &a.service).cmp(&(b.door.opens, &b.service)));
        }
        Since {
            time: self.time,
            opened,
            closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Ruling;
    use serde_json::json;

    fn door(number: u16) -> Door {
        serde_json::from_value(
            json!({"kind": "nodePort", "opens": "nodes", "ports": ["TCP 80"],
            "address": format!("every node:{number}"), "reason": "", "field": "f"}),
        )
        .expect("a door")
    }

    fn exposure(number: u16) -> Exposure {
        Exposure {
            door: door(number),
            policy: Ruling::default(),
        }
    }

    #[test]
    fn what_was_opened_and_closed_is_told_and_the_rest_is_not() {
        let told = |number| {
            json!({"service": "n/w", "kind": "nodePort", "opens": "nodes",
            "ports": ["TCP 80"], "address": format!("every node:{number}"), "reason": "another",
            "field": "g", "policy": {"allowedBy": []}})
        };
        let earlier = json!({"time": "t", "services": 2, "exposures": [told(30080), told(30081)]});
        let earlier = Earlier::read(earlier.to_string().as_bytes()).expect("an earlier run");
        let now = [exposure(30081), exposure(30082)];
        let since = earlier.compare(now.iter().map(|exposure| ("n/w", exposure)));
        let addresses = |told: &[Told]| {
            let addresses = told.iter().map(|told| told.door.address.clone());
            addresses.collect::<Vec<_>>()
        };
        assert_eq!(addresses(&since.opened), ["every node:30082"]);
        assert_eq!(addresses(&since.closed), ["every node:30080"]);
    }

    #[test]
    fn another_file_is_no_earlier_run() {
        for text in ["", "{}", "[]", r#"{"time": "t", "exposures": [{}]}"#] {
            let error = Earlier::read(text.as_bytes()).expect_err(text).to_string();
            assert!(
                error.contains("sallyport exposures --output json"),
                "{error}"
            );
        }
    }
}
