//! The clients that a load balancer admits by source ranges, as rule S05 reads them: those of the
//! field or of the annotations that its controller reads, unless something keeps them from holding.

use super::balancer::void;
use sallyport_core::excerpt::excerpt;
use sallyport_facts::Controller;
use sallyport_facts::internal::Enforces;
use sallyport_facts::ranges::{Ranges, voids};
use sallyport_policy::service::Service;

/// The source ranges of a load balancer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    ranges: String,
    /// The reason why they don't certainly hold.
    doubt: Option<String>,
}

impl Sources {
    /// Reads the source ranges of a load balancer that these controllers serve; `None`: they are
    /// not known. Returns `None` where the Service names no ranges.
    pub(super) fn of(
        service: &Service,
        controllers: Option<&[&'static Controller]>,
    ) -> Option<Self> {
        let ranges = Ranges::of(service, controllers);
        let (first, list) = (ranges.list.first()?, ranges.list.iter());
        let texts: Vec<_> = list.map(|range| range.text).collect();
        let unread = || match (first.key, controllers.unwrap_or_default()) {
            (Some(key), [controller, ..]) if !ranges.are_read => Some(format!(
                "{} does not read the annotation {key}",
                controller.name
            )),
            _ => None,
        };
        let voided = voids(service, None, controllers).first().map(void);
        Some(Self {
            ranges: excerpt(&texts.join(", ")).into_owned(),
            doubt: voided
                .or_else(unread)
                .or_else(|| unenforced(service, &ranges, controllers.unwrap_or_default())),
        })
    }

    /// Returns who is admitted, as the end of a sentence about the load balancer.
    pub(crate) fn text(&self) -> String {
        let Self { ranges, doubt } = self;
        match doubt {
            None => format!("from the source ranges {ranges}"),
            Some(doubt) => {
                format!("from anywhere, unless its source ranges {ranges} hold: {doubt}")
            }
        }
    }
}

fn unenforced(
    service: &Service,
    ranges: &Ranges<'_>,
    controllers: &[&Controller],
) -> Option<String> {
    controllers.iter().find_map(|controller| {
        let name = controller.name;
        match controller.enforces(service) {
            Enforces::No => Some(format!(
                "{name} does not enforce source ranges for this load balancer"
            )),
            Enforces::Depends => Some(format!(
                "the settings of {name} decide if it enforces source ranges"
            )),
            Enforces::EachFamily => {
                let families = ranges.open_families(service);
                let family = families.first()?;
                Some(format!(
                    "no range is of {family}, which {name} leaves open then"
                ))
            }
            Enforces::Yes | Enforces::Where(_) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_facts::internal::by_name;
    use sallyport_policy::testing::{labels, load_balancer};

    fn text(field: &[&str], annotations: &[(&str, &str)], controller: Option<&str>) -> String {
        let mut service = load_balancer("w", 80);
        service.spec.load_balancer_source_ranges =
            field.iter().map(|&range| range.to_owned()).collect();
        let pairs = annotations.iter().copied();
        service.metadata.annotations = pairs.flat_map(|pair| labels([pair])).collect();
        let controller = controller.map(|name| by_name(name).expect("a controller"));
        let controllers: Option<Vec<_>> = controller.map(|controller| vec![controller]);
        Sources::of(&service, controllers.as_deref())
            .map_or_else(String::new, |sources| sources.text())
    }

    #[test]
    fn ranges_count_where_their_controller_reads_and_enforces_them() {
        let held = "from the source ranges 192.0.2.0/24";
        let field = ["192.0.2.0/24"];
        assert_eq!(text(&[], &[], Some("azure")), "");
        assert_eq!(text(&field, &[], None), held);
        assert_eq!(text(&field, &[], Some("azure")), held);
        let annotation = (
            "service.beta.kubernetes.io/azure-allowed-ip-ranges",
            "10.0.0.0/8",
        );
        let alone = text(&[], &[annotation], Some("azure"));
        assert!(alone.contains("10.0.0.0/8"), "{alone}");
        let common = (
            "service.beta.kubernetes.io/load-balancer-source-ranges",
            "10.0.0.0/8",
        );
        assert_eq!(
            text(&[], &[common], Some("azure")),
            "from the source ranges 10.0.0.0/8"
        );
        let unread = text(&[], &[common], Some("scaleway"));
        assert!(
            unread.contains("scaleway does not read the annotation"),
            "{unread}"
        );
        let unenforced = text(&field, &[], Some("hcloud"));
        assert!(
            unenforced.contains("hcloud does not enforce"),
            "{unenforced}"
        );
    }

    #[test]
    fn an_annotation_that_voids_ranges_is_named() {
        let deny = ("service.cilium.io/src-ranges-policy", "deny");
        for controller in [None, Some("azure")] {
            assert_eq!(
                text(&["0.0.0.0/0"], &[deny], controller),
                "from anywhere, unless its source ranges 0.0.0.0/0 hold: annotation \
                 service.cilium.io/src-ranges-policy: \"deny\" makes the source ranges those that \
                 are denied"
            );
        }
        let allow = ("service.cilium.io/src-ranges-policy", "allow");
        assert_eq!(
            text(&["0.0.0.0/0"], &[allow], None),
            "from the source ranges 0.0.0.0/0"
        );
    }
}
