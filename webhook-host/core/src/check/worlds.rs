//! Compares the findings for several choices of the API server. A finding that all of them have is
//! certain; one that only some have is a warning that says so.

use crate::contract::review::PortRange;
use crate::report::check::{Finding, Level};
use std::collections::{BTreeMap, BTreeSet};

/// The findings for one choice of the API server.
pub(super) struct World {
    pub(super) findings: Vec<Finding>,
    pub(super) is_denied: bool,
}

pub(super) fn is_error(finding: &Finding) -> bool {
    finding.level == Level::Error
}

/// Identifies a finding without its message: level, policy, rule, field, and a number among equal
/// ones.
type Identity<'a> = (Level, &'a str, &'a str, &'a str, usize);

fn identified(world: &World) -> Vec<(Identity<'_>, &Finding)> {
    let mut alike = BTreeMap::new();
    let name = |finding: &'_ Finding| {
        (
            finding.level,
            finding.policy.clone(),
            finding.rule.clone(),
            finding.field.clone(),
        )
    };
    let identify = |finding| {
        let count = alike.entry(name(finding)).or_insert(0_usize);
        *count += 1;
        (
            (
                finding.level,
                &*finding.policy,
                &*finding.rule,
                &*finding.field,
                *count,
            ),
            finding,
        )
    };
    world.findings.iter().map(identify).collect()
}

/// Separates the findings of all choices from those of some.
pub(super) fn certain_and_possible(worlds: &[World]) -> (Vec<Finding>, Vec<Finding>) {
    let mut all = BTreeMap::<Identity<'_>, Vec<&Finding>>::new();
    let mut order = vec![];
    for (identity, finding) in worlds.iter().flat_map(identified) {
        let same = all.entry(identity).or_default();
        if same.is_empty() {
            order.push(identity);
        }
        same.push(finding);
    }
    let (mut certain, mut possible) = (vec![], vec![]);
    for same in order.iter().map(|identity| &all[identity]) {
        let mut finding = same[0].clone();
        if same.len() < worlds.len() {
            possible.push(finding);
            continue;
        }
        if same.iter().any(|other| other.message != finding.message) {
            finding.message += " (an example: this holds for whatever the API server allocates)";
        }
        certain.push(finding);
    }
    (certain, possible)
}

/// Reports the findings that depend on the API server's choice, each rule once. With `is_denied`,
/// every choice is denied, each for a reason of its own.
pub(super) fn uncertain(
    possible: Vec<Finding>,
    chosen: &BTreeSet<String>,
    range: PortRange,
    is_denied: bool,
) -> Vec<Finding> {
    let mut rules = BTreeMap::<(String, String), (Finding, usize)>::new();
    for finding in possible {
        let rule = (finding.policy.clone(), finding.rule.clone());
        rules
            .entry(rule)
            .and_modify(|(_, count)| *count += 1)
            .or_insert((finding, 1));
    }
    let say = |(finding, count): (Finding, usize)| {
        let (from, to) = (range.from, range.to);
        let others = match count - 1 {
            0 => String::new(),
            1 => " here and in one other place".to_owned(),
            others => format!(" here and in {others} other places"),
        };
        let message = match chosen.contains(&finding.field) {
            true => format!(
                "not set{others}, so the API server will allocate a port of {from}-{to}, and some \
                 of these are refused: {}",
                finding.message
            ),
            false => format!(
                "depends{others} on what the API server allocates: {}",
                finding.message
            ),
        };
        let level = match finding.level {
            Level::Error if is_denied => Level::Error,
            Level::Error => Level::Warning,
            Level::Unjudged | Level::Warning | Level::Note => Level::Note,
        };
        let fix = if finding.fix.is_empty() {
            "set it explicitly to check it now".to_owned()
        } else {
            finding.fix.clone()
        };
        Finding {
            level,
            message,
            fix,
            ..finding
        }
    };
    rules.into_values().map(say).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(findings: &[(&str, &str)]) -> World {
        let finding = |(field, message): &(&str, &str)| Finding {
            field: (*field).to_owned(),
            message: (*message).to_owned(),
            ..Finding::empty(Level::Error)
        };
        World {
            findings: findings.iter().map(finding).collect(),
            is_denied: !findings.is_empty(),
        }
    }

    #[test]
    fn what_every_choice_brings_is_certain_and_the_rest_possible() {
        let worlds = [
            world(&[("a", "same"), ("b", "1"), ("c", "x")]),
            world(&[("a", "same"), ("b", "2")]),
        ];
        let (certain, possible) = certain_and_possible(&worlds);
        let messages: Vec<_> = certain
            .iter()
            .map(|finding| finding.message.as_str())
            .collect();
        assert_eq!(
            messages,
            [
                "same",
                "1 (an example: this holds for whatever the API server allocates)"
            ]
        );
        assert_eq!(possible.len(), 1);
        let told = uncertain(
            possible,
            &BTreeSet::from(["c".to_owned()]),
            PortRange { from: 1, to: 9 },
            false,
        );
        assert_eq!(told[0].level, Level::Warning);
        assert_eq!(
            told[0].message,
            "not set, so the API server will allocate a port of 1-9, and some of these are \
             refused: x"
        );
    }
}
