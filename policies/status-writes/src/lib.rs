//! `status.loadBalancer` is written by known writers only (S14).
//!
//! kube-proxy sends traffic for the addresses in there to the Service's Pods, as it does for
//! `externalIPs`: whoever writes it can take over any address (CVE-2020-8554, its second vector).
//! Only `services/status` is looked at: the API server takes no status from a write to the Service
//! itself. The offence is the change, so that it has no key.

use sallyport_policy::prelude::*;
use sallyport_policy::service::{Ingress, PortStatus};
use std::borrow::Cow;
use std::collections::BinaryHeap;

policy!(StatusWrites, "policy.wit");

/// The policy, with those who may write.
pub struct StatusWrites {
    writers: Subjects,
}

impl Policy for StatusWrites {
    type Settings = Settings;

    fn describe() -> Description {
        Description {
            operations: vec![Operation::Update],
            resources: vec![Resource::ServicesStatus],
            ..Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).compares_user()
        }
    }

    fn defaults() -> Settings {
        Settings {
            writers: settings::Writers {
                users: vec![],
                groups: vec![],
                service_accounts: vec![],
            },
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let settings::Writers {
            users,
            groups,
            service_accounts,
        } = settings.writers;
        let mut errors = vec![];
        let writers = Subjects::parse("writers", users, groups, service_accounts, &mut errors);
        if errors.is_empty() {
            Ok(Self { writers })
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        if review.resource != Resource::ServicesStatus || self.writers.include(&review.user) {
            return Verdict::allow();
        }
        let new = &review.service.status.load_balancer_ingress;
        let old = review
            .old_service
            .as_ref()
            .map_or(&[][..], |old| &old.status.load_balancer_ingress);
        let changes = changes(old, new);
        let writer = quote(&review.user.name);
        if self.writers.is_empty() {
            let Some(first) = changes.first() else {
                return Verdict::allow();
            };
            let more = if changes.len() > 1 { " and more" } else { "" };
            let message = format!(
                "{}: {writer} {}{more}; no writers are set, so anybody may",
                first.field, first.what
            );
            return Verdict::allow().warn(message);
        }
        let violation = |Change { field, what }| {
            let message = format!("{writer} {what}, but is none of the writers");
            Violation::new("S14", field, message)
                .fix("leave it to the controller of the load balancer")
        };
        changes.into_iter().map(violation).collect()
    }
}

/// A fact that was not stated before, or is stated no more.
struct Change {
    field: String,
    /// Such as `adds "192.0.2.1"`.
    what: String,
}

/// A value that the status states of one ingress point. `of` is empty where the value is the
/// address or the name itself.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Fact<'a> {
    of: &'a str,
    field: &'static str,
    value: Cow<'a, str>,
}

impl Fact<'_> {
    fn is_point(&self) -> bool {
        self.of.is_empty()
    }

    /// `adds "VIP" for "192.0.2.1"`.
    fn told(&self, verb: &str) -> String {
        let value = quote(&self.value);
        if self.is_point() {
            format!("{verb} {value}")
        } else {
            format!("{verb} {value} for {}", quote(self.of))
        }
    }
}

/// Addresses and names that come or go, and what comes or goes of the modes and ports of those that
/// stay. The order does not matter.
fn changes(old: &[Ingress], new: &[Ingress]) -> Vec<Change> {
    let (before, after) = (sorted(old), sorted(new));
    let stays = |fact: &Fact<'_>, there: &[Fact<'_>]| {
        let point = |field| Fact {
            of: "",
            field,
            value: Cow::Borrowed(fact.of),
        };
        fact.is_point()
            || ["ip", "hostname"]
                .into_iter()
                .any(|field| there.binary_search(&point(field)).is_ok())
    };
    let mut changes = vec![];
    for (i, ingress) in new.iter().enumerate() {
        for fact in facts(ingress) {
            if before.binary_search(&fact).is_err() && stays(&fact, &before) {
                let field = format!("status.loadBalancer.ingress[{i}].{}", fact.field);
                changes.push(Change {
                    field,
                    what: fact.told("adds"),
                });
            }
        }
    }
    for fact in &before {
        if after.binary_search(fact).is_err() && stays(fact, &after) {
            changes.push(Change {
                field: "status.loadBalancer.ingress".to_owned(),
                what: fact.told("removes"),
            });
        }
    }
    changes
}

fn facts(ingress: &Ingress) -> Vec<Fact<'_>> {
    let mut facts = vec![];
    for (field, value) in [("ip", &ingress.ip), ("hostname", &ingress.hostname)] {
        let Some(point) = value else { continue };
        facts.push(Fact {
            of: "",
            field,
            value: Cow::Borrowed(point),
        });
        if field == "ip" {
            let mode = ingress.ip_mode.as_deref().unwrap_or("VIP");
            facts.push(Fact {
                of: point,
                field: "ipMode",
                value: Cow::Borrowed(mode),
            });
        }
        for PortStatus {
            port,
            protocol,
            error,
        } in &ingress.ports
        {
            let mut value = format!("{}/{protocol}", *port);
            if let Some(error) = error {
                value.push_str(": ");
                value.push_str(error);
            }
            facts.push(Fact {
                of: point,
                field: "ports",
                value: Cow::Owned(value),
            });
        }
    }
    facts
}

/// Sorts the entries, of which a status may have thousands. (A heap takes a fraction of the code of
/// `sort` or a set.)
fn sorted(list: &[Ingress]) -> Vec<Fact<'_>> {
    list.iter()
        .flat_map(facts)
        .collect::<BinaryHeap<_>>()
        .into_sorted_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    fn policy(
        users: &[&str],
        groups: &[&str],
        accounts: &[&str],
    ) -> Result<StatusWrites, Vec<SettingsError>> {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let writers = settings::Writers {
            users: texts(users),
            groups: texts(groups),
            service_accounts: texts(accounts),
        };
        StatusWrites::configure(Settings { writers })
    }

    fn served(ips: &[&str]) -> Service {
        let mut service = load_balancer("w", 80);
        let ingress = |ip: &&str| Ingress {
            ip: Some((*ip).to_owned()),
            ..Ingress::default()
        };
        service.status.load_balancer_ingress = ips.iter().map(ingress).collect();
        service
    }

    fn written(old: &[&str], new: &[&str]) -> Review {
        update(served(old), served(new)).of_status()
    }

    fn messages(verdict: &Verdict) -> Vec<&str> {
        verdict
            .violations
            .iter()
            .map(|violation| violation.message.as_str())
            .collect()
    }

    #[test]
    fn only_writers_may_change_it() {
        let policy =
            policy(&["ccm"], &["controllers"], &["lb/speaker"]).unwrap_or_else(|_| panic!("valid"));
        let review = written(&["192.0.2.1"], &["8.8.8.8"]);
        let expected = [
            r#""alice" adds "8.8.8.8", but is none of the writers"#,
            r#""alice" removes "192.0.2.1", but is none of the writers"#,
        ];
        assert_eq!(messages(&policy.validate(&review)), expected);
        for (name, groups) in [
            ("ccm", ["a"]),
            ("bob", ["controllers"]),
            ("system:serviceaccount:lb:speaker", ["a"]),
        ] {
            assert_eq!(
                policy.validate(&review.clone().by(name, groups)),
                Verdict::allow(),
                "{name}"
            );
        }
    }

    #[test]
    fn what_does_not_change_is_nobodys_offence() {
        let policy = policy(&["ccm"], &[], &[]).unwrap_or_else(|_| panic!("valid"));
        assert_eq!(
            policy.validate(&written(
                &["192.0.2.1", "192.0.2.2"],
                &["192.0.2.2", "192.0.2.1"]
            )),
            Verdict::allow()
        );
        let spec_write = update(served(&[]), served(&["8.8.8.8"]));
        assert_eq!(policy.validate(&spec_write), Verdict::allow());
    }

    #[test]
    fn the_mode_and_the_ports_of_an_address_are_part_of_it() {
        let policy = policy(&["ccm"], &[], &[]).unwrap_or_else(|_| panic!("valid"));
        let with = |mode: Option<&str>, ports: &[i32]| {
            let mut service = served(&["192.0.2.1"]);
            let ingress = &mut service.status.load_balancer_ingress[0];
            ingress.ip_mode = mode.map(str::to_owned);
            let status = |port: &i32| PortStatus {
                port: *port,
                protocol: "TCP".to_owned(),
                error: None,
            };
            ingress.ports = ports.iter().map(status).collect();
            service
        };
        let judge = |old: &Service, new: &Service| {
            policy.validate(&update(old.clone(), new.clone()).of_status())
        };
        let proxied = with(Some("Proxy"), &[443]);
        let verdict = judge(&proxied, &with(Some("VIP"), &[443]));
        let expected = [
            r#""alice" adds "VIP" for "192.0.2.1", but is none of the writers"#,
            r#""alice" removes "Proxy" for "192.0.2.1", but is none of the writers"#,
        ];
        assert_eq!(messages(&verdict), expected);
        assert_eq!(
            verdict.violations[0].field,
            "status.loadBalancer.ingress[0].ipMode"
        );
        assert_eq!(
            judge(&proxied, &with(None, &[443])).violations.len(),
            2,
            "no mode means VIP"
        );
        assert_eq!(
            judge(&with(None, &[]), &with(Some("VIP"), &[])),
            Verdict::allow()
        );
        let verdict = judge(&proxied, &with(Some("Proxy"), &[80]));
        assert_eq!(
            verdict.violations[0].field,
            "status.loadBalancer.ingress[0].ports"
        );
        assert_eq!(
            messages(&judge(&served(&[]), &proxied)).len(),
            1,
            "an address that is new is told once"
        );
    }

    #[test]
    fn without_an_old_object_everything_is_new() {
        let policy = policy(&["ccm"], &[], &[]).unwrap_or_else(|_| panic!("valid"));
        let review = Review {
            old_service: None,
            ..written(&["8.8.8.8"], &["8.8.8.8"])
        };
        assert_eq!(
            policy.validate(&review).violations[0].field,
            "status.loadBalancer.ingress[0].ip"
        );
    }

    #[test]
    fn without_writers_there_is_a_warning() {
        let policy = policy(&[], &[], &[]).unwrap_or_else(|_| panic!("valid"));
        let verdict = policy.validate(&written(&[], &["8.8.8.8", "8.8.4.4"]));
        let expected = "status.loadBalancer.ingress[0].ip: \"alice\" adds \"8.8.8.8\" and more; no \
            writers are set, so anybody may";
        assert_eq!(
            (verdict.violations.len(), verdict.warnings[0].as_str()),
            (0, expected)
        );
    }

    #[test]
    fn names_that_nobody_has_are_refused_with_their_path() {
        let errors = policy(&["a", ""], &[""], &["a/b", "a", "a/b/c", "/b", "a/*"])
            .err()
            .unwrap_or_default();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        let expected = [
            "writers.users[1]",
            "writers.groups[0]",
            "writers.serviceAccounts[1]",
            "writers.serviceAccounts[2]",
            "writers.serviceAccounts[3]",
            "writers.serviceAccounts[4]",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn writers_that_are_nobody_or_everybody_are_refused() {
        let errors = policy(
            &["system:serviceaccount:lb:*", " ccm"],
            &["system:authenticated"],
            &[],
        )
        .err()
        .unwrap_or_default();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            ["writers.users[0]", "writers.users[1]", "writers.groups[0]"]
        );
    }
}
