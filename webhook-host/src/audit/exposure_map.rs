//! The doors of a cluster as the last pass of the background audit found them, for the live
//! console.
//!
//! Its size is bounded: of very many doors the widest are kept, and the others are counted.

use super::{Exposure, Row};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The doors that are kept: some 4 MiB of JSON.
const MAX_DOORS: usize = 5000;

/// The map of a host that audits, and the name of the replica that does it instead.
#[derive(Debug, Default)]
pub struct ExposureMap(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    holder: Option<String>,
    found: Option<Found>,
    revision: u64,
}

/// The state of the map, without its doors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MapSummary {
    /// The replica that audits, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) holder: Option<String>,
    /// Changes whenever the doors do; 0 before there are any.
    pub(crate) revision: u64,
    /// The end of the pass; absent before the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
}

#[derive(Debug)]
struct Found {
    at: Timestamp,
    json: Bytes,
}

/// Gathers the doors of one pass.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    services: u64,
    doors: Vec<ServiceDoor>,
    left_out: u64,
}

/// A door with its Service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceDoor {
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(flatten)]
    exposure: Exposure,
}

/// The doors of one pass.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Doors<'a> {
    time: String,
    services: u64,
    /// False if some Service could not be read or judged.
    complete: bool,
    /// The number of doors that are not among the exposures, because there are too many.
    left_out: u64,
    exposures: &'a [ServiceDoor],
}

impl Gathering {
    /// Takes the doors of a Service.
    pub(crate) fn add(&mut self, row: &Row) {
        self.services += 1;
        self.doors
            .extend(row.doors.iter().map(|exposure| ServiceDoor {
                service: row.service.clone(),
                created: row.created.clone(),
                exposure: exposure.clone(),
            }));
        if self.doors.len() > 2 * MAX_DOORS {
            self.shorten();
        }
    }

    /// Forgets the Services: their list begins anew.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Keeps the widest doors.
    fn shorten(&mut self) {
        self.doors.sort_by_key(|door| door.exposure.door.opens);
        let more = self.doors.len().saturating_sub(MAX_DOORS);
        self.left_out += more as u64;
        self.doors.truncate(MAX_DOORS);
    }

    fn json(mut self, at: Timestamp, complete: bool) -> Bytes {
        self.shorten();
        let doors = Doors {
            time: at.to_string(),
            services: self.services,
            complete,
            left_out: self.left_out,
            exposures: &self.doors,
        };
        let json = serde_json::to_vec(&doors).expect("it is made of texts and numbers");
        json.into()
    }
}

impl ExposureMap {
    /// Says which replica audits: another one, or this one. What this one found before another took
    /// over is forgotten.
    pub(crate) fn held_by(&self, other: Option<&str>) {
        let mut state = self.state();
        if other.is_some() {
            state.found = None;
        }
        if state.holder.as_deref() != other {
            state.holder = other.map(str::to_owned);
        }
    }

    /// Replaces the doors by those of a pass.
    pub(crate) fn publish(&self, gathered: Gathering, at: Timestamp, complete: bool) {
        let json = gathered.json(at, complete);
        let mut state = self.state();
        state.revision += 1;
        state.found = Some(Found { at, json });
    }

    pub(crate) fn summary(&self) -> MapSummary {
        let state = self.state();
        let found = state.found.as_ref();
        MapSummary {
            holder: state.holder.clone(),
            revision: found.map_or(0, |_| state.revision),
            at: found.map(|found| found.at.to_string()),
        }
    }

    /// Returns the doors as JSON; `None` before the first pass.
    pub(crate) fn json(&self) -> Option<Bytes> {
        let state = self.state();
        state.found.as_ref().map(|found| found.json.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Ruling;
    use crate::exposure::{Door, DoorKind, Opens};

    fn row(number: usize, opens: Opens) -> Row {
        let door = Door {
            kind: DoorKind::LoadBalancer,
            opens,
            ports: vec!["TCP 80".to_owned()],
            address: String::new(),
            reason: String::new(),
            field: "spec.type".to_owned(),
            allocated: false,
            written_by: None,
        };
        Row {
            service: format!("n/{number}"),
            doors: vec![Exposure {
                door,
                policy: Ruling::default(),
            }],
            ..Row::default()
        }
    }

    #[test]
    fn of_very_many_doors_the_widest_are_kept_and_the_others_counted() {
        let (map, mut gathered) = (ExposureMap::default(), Gathering::default());
        for number in 0..3 * MAX_DOORS {
            gathered.add(&row(number, Opens::Alias));
        }
        gathered.add(&row(3 * MAX_DOORS, Opens::Public));
        map.publish(gathered, Timestamp::UNIX_EPOCH, true);
        let json = map.json().expect("published");
        let value: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let kept = value["exposures"].as_array().expect("an array");
        assert_eq!(kept.len(), MAX_DOORS);
        assert_eq!(kept[0]["opens"], "public");
        assert_eq!(value["leftOut"], 2 * MAX_DOORS + 1);
        assert_eq!(value["services"], 3 * MAX_DOORS + 1);
    }

    #[test]
    fn another_leader_ends_what_this_one_knew() {
        let map = ExposureMap::default();
        assert_eq!(map.summary(), MapSummary::default());
        map.publish(Gathering::default(), Timestamp::UNIX_EPOCH, true);
        assert_eq!(map.summary().revision, 1);
        map.held_by(Some("pod-b"));
        assert_eq!((map.summary().revision, map.json()), (0, None));
        assert_eq!(map.summary().holder.as_deref(), Some("pod-b"));
        map.held_by(None);
        map.publish(Gathering::default(), Timestamp::UNIX_EPOCH, true);
        assert_eq!(
            map.summary().revision,
            2,
            "and no reader takes it for the old one"
        );
    }
}
