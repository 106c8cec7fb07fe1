use super::*;
use sallyport_policy::testing::*;

fn policy(change: impl FnOnce(&mut Settings)) -> ChangeProtection {
    let mut settings = ChangeProtection::defaults();
    settings.mark = Some("example.com/protected".to_owned());
    change(&mut settings);
    ChangeProtection::configure(settings).unwrap_or_else(|errors| panic!("{errors:?}"))
}

#[test]
fn deletions_are_asked_about_only_where_a_mark_can_protect_from_them() {
    let deletes = |policy: &ChangeProtection| {
        policy
            .describe_configured()
            .operations
            .contains(&Operation::Delete)
    };
    assert!(deletes(&policy(|_| {})));
    assert!(!deletes(&policy(|settings| settings.mark = None)));
    assert!(!deletes(&policy(
        |settings| settings.protect = vec![Protected::Type]
    )));
}

#[test]
fn a_label_of_the_namespace_concerns_every_service_in_it() {
    let by_annotation = policy(|_| {}).describe_configured();
    assert_eq!(by_annotation.about, About::COMPARED_ANNOTATIONS);
    let by_label = policy(|settings| settings.namespace_labels = vec![("a".to_owned(), vec![])]);
    assert_eq!(by_label.describe_configured().about, About::empty());
}

#[test]
fn thousands_of_lost_addresses_end_at_the_bound() {
    let mut old = cluster_ip("w");
    old.metadata.annotations = labels([("example.com/protected", "true")]);
    let mut new = old.clone();
    let ips = |third: i32| {
        (0..9000)
            .map(move |i| format!("2001:db8::{third}:{i:x}"))
            .collect()
    };
    (old.spec.external_ips, new.spec.external_ips) = (ips(2), ips(3));
    let verdict = policy(|_| {}).validate(&update(old, new));
    assert_eq!(
        verdict.violations.len(),
        sallyport_policy::MAX_VIOLATIONS + 1
    );
}
