//! Break-glass: an annotation on the Service, by which a few people excuse what one request does,
//! for a while.
//!
//! A request by one of these people is excused. If others' updates keep the annotation unchanged,
//! it excuses only violations that the old object has too. An annotation that is expired, malformed
//! or too far ahead grants nothing and blocks nothing by itself. Other users may not set or change
//! it, but every user may remove it, because that only ends a permission. A deletion is excused by
//! the annotation that the Service has, if one of these people deletes it.

use super::exemption::named;
use super::request::UserInfo;
use super::subject::Subject;
use crate::contract::service::Service;
use crate::contract::verdict::Violation;
use crate::excerpt::excerpt;
use crate::manifest::BreakGlass;
use jiff::Timestamp;
use std::time::SystemTime;

/// The effect of the annotation on a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// There is no annotation.
    Absent,
    /// The request is excused.
    Granted(Grant),
    /// Another user's update keeps the annotation: violations that the old object has too are
    /// excused.
    Carried,
    /// The annotation grants nothing, for this reason.
    Refused(Violation),
    /// A user who may not do so set the annotation.
    Reserved(Violation),
}

/// A request that was excused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// When it ends.
    pub until: Timestamp,
    /// The reason that was given, cut.
    pub reason: String,
}

/// The first second of 2020. A clock before this was never set.
const CLOCK_IS_SET: Timestamp = Timestamp::constant(1_577_836_800, 0);

impl Effect {
    pub(super) fn of(
        config: Option<&BreakGlass>,
        user: &UserInfo,
        subject: &Subject<'_>,
        now: SystemTime,
    ) -> Self {
        let (service, old) = (subject.service(), subject.old_service());
        match config {
            None => Self::Absent,
            Some(config) if subject.is_deleted() => Self::of_deletion(config, user, service, now),
            Some(config) => Self::of_write(config, user, service, old, now),
        }
    }

    fn of_deletion(
        config: &BreakGlass,
        user: &UserInfo,
        service: &Service,
        now: SystemTime,
    ) -> Self {
        let key = config.annotation.as_str();
        match annotation(service, key) {
            Some(value) if is_granter(config, user) => match parse(config, value, now) {
                Err(problem) => {
                    Self::Refused(violation(key, format!("grants nothing: {problem}"), ""))
                }
                Ok(grant) => Self::Granted(grant),
            },
            _ => Self::Absent,
        }
    }

    fn of_write(
        config: &BreakGlass,
        user: &UserInfo,
        service: &Service,
        old: Option<&Service>,
        now: SystemTime,
    ) -> Self {
        let key = config.annotation.as_str();
        let Some(value) = annotation(service, key) else {
            return Self::Absent;
        };
        let is_changed = old.and_then(|old| annotation(old, key)) != Some(value);
        let is_granter = is_granter(config, user);
        if is_changed && !is_granter {
            return Self::Reserved(reserved(key));
        }
        match parse(config, value, now) {
            Err(problem) => Self::Refused(violation(key, format!("grants nothing: {problem}"), "")),
            Ok(grant) if is_granter => Self::Granted(grant),
            Ok(_) => Self::Carried,
        }
    }

    /// Returns true if `/mutate` must not patch the object: a patch could undo the excused change.
    pub(super) fn forbids_patches(&self) -> bool {
        matches!(self, Self::Granted(_) | Self::Carried)
    }
}

fn is_granter(config: &BreakGlass, user: &UserInfo) -> bool {
    named(
        user,
        &config.users,
        &config.groups,
        &config.service_accounts,
    )
    .is_some()
}

fn annotation<'a>(service: &'a Service, key: &str) -> Option<&'a str> {
    service
        .metadata
        .annotations
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

fn reserved(key: &str) -> Violation {
    let message = "the annotation is reserved for those who may break the glass".to_owned();
    violation(key, message, "leave it as it was, or ask them")
}

fn violation(key: &str, message: String, fix: &str) -> Violation {
    Violation {
        rule: "BreakGlass".to_owned(),
        key: String::new(),
        field: format!("metadata.annotations[{key:?}]"),
        message,
        fix: fix.to_owned(),
    }
}

fn parse(config: &BreakGlass, value: &str, now: SystemTime) -> Result<Grant, String> {
    const FORM: &str = "write when it ends (RFC 3339, in UTC), a semicolon, and the reason";
    let now = Timestamp::try_from(now)
        .ok()
        .filter(|now| *now >= CLOCK_IS_SET);
    let now = now.ok_or("the host's clock is not set, so that no expiry can be judged")?;
    let (until, reason) = value
        .split_once(';')
        .ok_or_else(|| format!("it has no reason; {FORM}"))?;
    let until: Timestamp = until
        .trim()
        .parse()
        .map_err(|_| format!("{:?} is no time of RFC 3339; {FORM}", excerpt(until.trim())))?;
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(format!("its reason is empty; {FORM}"));
    }
    if until <= now {
        return Err(format!("it expired at {until}"));
    }
    let latest = now
        .saturating_add(config.max_duration.duration())
        .unwrap_or(Timestamp::MAX);
    if until > latest {
        return Err(format!(
            "{until} is more than {} ahead",
            config.max_duration
        ));
    }
    Ok(Grant {
        until,
        reason: excerpt(reason).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use crate::service;
    use serde_json::json;
    use std::time::Duration;

    const VALUE: &str = "2026-01-01T12:00:00Z; the load balancer is down";

    fn effect(user: &str, new: Option<&str>, old: Option<&str>) -> Effect {
        let config =
            decode::from_value(&json!({"groups": ["oncall"], "users": ["root"]})).expect("valid");
        let object = |value: Option<&str>| {
            let annotations = value.map(|value| json!({"sallyport.dev/break-glass": value}));
            service::from_value(&json!({"metadata": {"name": "w", "annotations": annotations}}))
                .expect("a Service")
        };
        let user = UserInfo {
            username: user.to_owned(),
            ..UserInfo::default()
        };
        let old = old.map(|old| object(Some(old)));
        // 2026-01-01T00:00:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        Effect::of_write(&config, &user, &object(new), old.as_ref(), now)
    }

    fn refused(value: &str) -> String {
        match effect("root", Some(value), None) {
            Effect::Refused(violation) => violation.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_those_who_may_set_it_are_excused() {
        assert!(matches!(effect("root", Some(VALUE), None),
                Effect::Granted(grant) if grant.reason.starts_with("the load")));
        assert!(matches!(
            effect("alice", Some(VALUE), None),
            Effect::Reserved(_)
        ));
        assert_eq!(effect("alice", Some(VALUE), Some(VALUE)), Effect::Carried);
        assert!(matches!(
            effect("alice", Some(VALUE), Some("2026-01-01T11:00:00Z; x")),
            Effect::Reserved(_)
        ));
        assert_eq!(effect("alice", None, Some(VALUE)), Effect::Absent);
    }

    #[test]
    fn what_grants_nothing_says_why() {
        assert_eq!(
            refused("2025-12-31T23:59:59Z; x"),
            "grants nothing: it expired at 2025-12-31T23:59:59Z"
        );
        assert_eq!(
            refused("2036-01-01T00:00:00Z; x"),
            "grants nothing: 2036-01-01T00:00:00Z is more than 72h ahead"
        );
        assert!(refused("2026-01-01T12:00:00Z").contains("it has no reason"));
        assert!(refused("2026-01-01T12:00:00Z; ").contains("its reason is empty"));
        assert!(refused("tomorrow; x").contains(r#""tomorrow" is no time of RFC 3339"#));
    }
}
