use super::*;
use sallyport_facts::addresses::NAMES;
use sallyport_policy::testing::*;

fn policy(cidrs: Option<&[&str]>, pools: Option<&[&str]>) -> LoadBalancerAddresses {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let settings = Settings {
        allowed_cidrs: cidrs.map(texts),
        allowed_pools: pools.map(texts),
        ..LoadBalancerAddresses::defaults()
    };
    LoadBalancerAddresses::configure(settings).unwrap_or_else(|errors| panic!("{errors:?}"))
}

#[test]
fn every_known_annotation_is_judged_once() {
    let policy = policy(Some(&["192.0.2.0/24"]), None);
    let known = NAMES.iter().filter(|row| row.checked == Checked::Pool);
    for key in known
        .map(|row| row.key)
        .chain(CHOOSES.iter().map(|row| row.key))
    {
        let mut service = load_balancer("w", 80);
        service.metadata.annotations = labels([(key, "192.0.2.7")]);
        assert_eq!(
            policy.validate(&create(service.clone())),
            Verdict::allow(),
            "{key}"
        );
        service.metadata.annotations = labels([(key, "8.8.8.8")]);
        service.spec.load_balancer_ip = Some("8.8.8.8".to_owned());
        assert_eq!(
            policy.validate(&create(service)).violations.len(),
            1,
            "{key}"
        );
    }
}

#[test]
fn hundreds_of_addresses_end_at_the_bound() {
    let mut service = load_balancer("w", 80);
    let list: Vec<_> = (0..200).map(|i| format!("198.51.100.{i}")).collect();
    service.metadata.annotations = labels([("metallb.io/loadBalancerIPs", &list.join(","))]);
    let verdict = policy(Some(&["198.51.100.0/24"]), None).validate(&create(service.clone()));
    assert_eq!(verdict.violations.len(), 1);
    assert_eq!(verdict.violations[0].key, "");
    let verdict = policy(Some(&[]), None).validate(&create(service));
    assert_eq!(verdict.violations.len(), MAX_REQUESTS + 1);
}

#[test]
fn nothing_is_asked_about_until_something_is_restricted() {
    assert_eq!(
        policy(None, None).describe_configured().about,
        About::TYPE_UNSET
    );
    let restricted = [policy(Some(&[]), None), policy(None, Some(&["a"]))];
    for policy in restricted {
        assert_eq!(policy.describe_configured().about, About::LOAD_BALANCER);
    }
}
