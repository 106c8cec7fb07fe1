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
pub struct EarlierError(#[from] serde_json::Error);

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
        Ok(serde_json::from_slice(json)?)
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
