use super::*;
use sallyport_policy::testing::*;

fn required(key: &str, types: Option<Vec<ServiceType>>) -> settings::Required {
    settings::Required {
        key: key.to_owned(),
        types,
        namespaces: None,
    }
}

#[test]
fn services_without_the_annotation_are_asked_about_only_where_it_is_required() {
    let about = |required| {
        let settings = Settings {
            required,
            ..Annotations::defaults()
        };
        let policy = Annotations::configure(settings).unwrap_or_else(|_| panic!("valid"));
        policy.describe_configured().about
    };
    let compared = About::COMPARED_ANNOTATIONS;
    assert_eq!(about(vec![]), compared);
    let balancers = required("a/b", Some(vec![ServiceType::LoadBalancer]));
    assert_eq!(about(vec![balancers]), compared | About::LOAD_BALANCER);
    let every = About::CLUSTER_IP | About::NODE_PORT | About::LOAD_BALANCER | About::EXTERNAL_NAME;
    assert_eq!(about(vec![required("a/b", None)]), compared | every);
}

#[test]
fn values_that_show_nothing_are_blank() {
    for value in [
        "",
        " ",
        "\n\t",
        "\u{a0}",
        "\u{200b}\u{feff}",
        "\u{3000}",
        "\u{2800}",
        "\u{e0041}",
    ] {
        assert!(is_blank(value), "{value:?}");
    }
    for value in ["0", "-", " x ", "\u{627f}\u{8a8d}", "\u{200b}x"] {
        assert!(!is_blank(value), "{value:?}");
    }
}

#[test]
fn thousands_of_host_names_end_at_the_bound() {
    let settings = Settings {
        confined: vec![settings::Confined {
            key: "a/b".to_owned(),
            values: None,
            patterns: None,
            dns_suffixes: Some(vec![".example.com".to_owned()]),
            types: None,
            namespaces: None,
        }],
        ..Annotations::defaults()
    };
    let policy = Annotations::configure(settings).unwrap_or_else(|_| panic!("valid"));
    let mut service = cluster_ip("w");
    service.metadata.annotations = labels([("a/b", &"x.example.org,".repeat(20_000))]);
    let verdict = policy.validate(&create(service));
    assert_eq!(
        verdict.violations.len(),
        sallyport_policy::MAX_VIOLATIONS + 1
    );
}
