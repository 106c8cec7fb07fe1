//! The source ranges of a load balancer: which of them count, and what keeps them from holding.

use super::internal::{CONTROLLERS, Controller, SOURCE_RANGES};
use super::voids::{BESIDE, Voided, Voiding, voiding};
use sallyport_policy::net::Cidr;
use sallyport_policy::service::Service;

/// The field, which wins over the annotations.
pub const FIELD: &str = "spec.loadBalancerSourceRanges";

/// The source ranges of a Service.
#[derive(Debug, Clone)]
pub struct Ranges<'a> {
    /// The field's, or those of the annotations that may be read in place of it.
    pub list: Vec<Range<'a>>,
    /// True if there are ranges that every controller reads.
    pub are_read: bool,
}

/// A source range.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    /// The annotation that has it; none: the field.
    pub key: Option<&'static str>,
    /// Its place among the field's.
    pub index: usize,
    /// The text without the blanks around it; not necessarily a block of addresses.
    pub text: &'a str,
}

impl Range<'_> {
    /// Returns the path of the field, such as `spec.loadBalancerSourceRanges[0]`.
    pub fn field(&self) -> String {
        self.key
            .map_or_else(|| format!("{FIELD}[{}]", self.index), annotation)
    }
}

/// Returns an annotation's path. Its key is one of the tables': it needs no escapes.
fn annotation(key: &str) -> String {
    format!("metadata.annotations[\"{key}\"]")
}

impl<'a> Ranges<'a> {
    /// Reads the ranges as these controllers do; `None`: they are not known.
    pub fn of(service: &'a Service, controllers: Option<&[&Controller]>) -> Self {
        let mut list = vec![];
        for (index, text) in service.spec.load_balancer_source_ranges.iter().enumerate() {
            list.push(Range {
                key: None,
                index,
                text: text.trim_ascii(),
            });
        }
        if !list.is_empty() {
            return Self {
                list,
                are_read: true,
            };
        }
        let mut are_read = false;
        let others = controllers
            .unwrap_or_default()
            .iter()
            .flat_map(|controller| controller.ranges);
        for key in others
            .copied()
            .filter(|key| *key != SOURCE_RANGES)
            .chain([SOURCE_RANGES])
        {
            let before = list.len();
            let mut rest = service.annotation(key).unwrap_or_default();
            while !rest.is_empty() {
                let end = rest
                    .bytes()
                    .position(|byte| byte == b',')
                    .unwrap_or(rest.len());
                let text = rest.get(..end).unwrap_or_default().trim_ascii();
                if !text.is_empty() {
                    list.push(Range {
                        key: Some(key),
                        index: 0,
                        text,
                    });
                }
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            let reads = |controller: &&Controller| controller.ranges.contains(&key);
            are_read |= list.len() > before
                && controllers.is_none_or(|controllers| controllers.iter().all(reads));
        }
        Self { list, are_read }
    }

    /// Returns true if the Service names ranges, wherever a controller may read them.
    pub fn is_any(service: &Service) -> bool {
        let mut keys = CONTROLLERS.iter().flat_map(|controller| controller.ranges);
        !service.spec.load_balancer_source_ranges.is_empty()
            || keys.any(|key| service.annotation(key).is_some())
    }

    /// Returns the IP families of a Service that have no range of their own.
    pub fn open_families(&self, service: &Service) -> Vec<&'static str> {
        let is_open = |(family, is_v6): &(&'static str, bool)| {
            let is_of_it = |range: &Range<'_>| {
                Cidr::parse(range.text).is_some_and(|block| block.is_v6() == *is_v6)
            };
            service.has_family(family) && !self.list.iter().any(is_of_it)
        };
        let families = [("IPv4", false), ("IPv6", true)].into_iter();
        families.filter(is_open).map(|(family, _)| family).collect()
    }

    /// Returns the path of what holds the ranges.
    pub fn root(&self) -> String {
        self.list
            .first()
            .and_then(|range| range.key)
            .map_or_else(|| FIELD.to_owned(), annotation)
    }
}

/// Returns the annotations that void source ranges, each once: for the controllers that serve the
/// Service, or for all where they are not known, and for what runs beside any of them. `old` is the
/// Service before the update ([`voiding`]).
pub fn voids<'a>(
    service: &'a Service,
    old: Option<&'a Service>,
    controllers: Option<&[&'static Controller]>,
) -> Vec<Voiding<'a>> {
    let mut found: Vec<Voiding<'a>> = vec![];
    let mut add = |by: &'static str| {
        for voiding in voiding(service, old, Voided::Ranges, by) {
            // Two controllers may read one annotation.
            if found.iter().all(|other| other.key() != voiding.key()) {
                found.push(voiding);
            }
        }
    };
    for by in BESIDE {
        add(by);
    }
    match controllers {
        Some(controllers) => controllers
            .iter()
            .for_each(|controller| add(controller.name)),
        None => CONTROLLERS
            .iter()
            .for_each(|controller| add(controller.name)),
    }
    found
}
