//! The shipped policies' rules in CEL, each with the settings that it was loaded with.
//!
//! A policy is known by the name of its component. `old` is only looked at in an update, and every
//! optional field only behind `has`.

use crate::webhooks::cel::{IN_DELETION, list, text};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// CEL, true for what is allowed.
    pub holds: String,
    /// What is said when `says` can't be evaluated.
    pub message: String,
    /// CEL for the message, with the value found.
    pub says: Option<String>,
}

type Translated = (Vec<Rule>, Vec<String>);

/// The rules of a component with its settings, and what they leave out.
///
/// # Errors
///
/// Why there are none.
pub(super) fn of(
    component: &str,
    name: &str,
    settings: &Value,
    ratchets: bool,
) -> Result<Translated, String> {
    let policy = Named { name, ratchets };
    match component {
        "service-type" => Ok(policy.service_type(&read(settings)?)),
        "nodeport-range" => Ok(policy.node_port_range(&read(settings)?)),
        "external-ips" => Ok(policy.external_ips(&read(settings)?)),
        "external-name" => Ok(policy.external_name(&read(settings)?)),
        "loadbalancer-cloud-only" => Ok(policy.load_balancers(&read(settings)?)),
        "selectorless" => Ok(policy.selectorless(&read(settings)?)),
        _ => Err("its rules are not expressed in CEL".to_owned()),
    }
}

/// Another component may bear the name.
fn read<T: DeserializeOwned>(settings: &Value) -> Result<T, String> {
    T::deserialize(settings)
        .map_err(|error| format!("its settings are not those of the shipped policy: {error}"))
}

/// An empty list of pairs has no keys to tell that it is a mapping.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mapping<T> {
    Pairs(BTreeMap<String, T>),
    Empty([(); 0]),
}

impl<T> Mapping<T> {
    fn get(&self) -> Option<&BTreeMap<String, T>> {
        match self {
            Self::Pairs(pairs) => Some(pairs),
            Self::Empty([]) => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceType {
    allowed_types: Vec<String>,
    per_namespace: Mapping<Vec<String>>,
}

#[derive(Deserialize)]
struct Range {
    from: u16,
    to: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodePortRange {
    ranges: Vec<Range>,
    reserved: Vec<Range>,
    per_namespace: Mapping<Vec<Range>>,
    auto_assigned: String,
    static_only: bool,
    include_health_check: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalIps {
    allowed_cidrs: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalName {
    allowed_suffixes: Vec<String>,
    cluster_domains: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadBalancers {
    environment: String,
    allowed_classes: Vec<String>,
    allow_classless: bool,
    require_class: bool,
}

#[derive(Deserialize)]
struct Selectorless {
    types: Vec<String>,
}

/// The type of a Service, as the API server has it.
fn type_of(object: &str) -> String {
    format!("(has({object}.spec.type) ? {object}.spec.type : 'ClusterIP')")
}

/// What a namespace's setting is: its own, or else the common one.
fn for_namespace<T>(own: &Mapping<T>, common: &str, write: impl Fn(&T) -> String) -> String {
    let Some(own) = own.get().filter(|own| !own.is_empty()) else {
        return common.to_owned();
    };
    let pairs: Vec<String> = own
        .iter()
        .map(|(name, value)| format!("{}: {}", text(name), write(value)))
        .collect();
    let map = format!("{{{}}}", pairs.join(", "));
    format!("(request.namespace in {map} ? {map}[request.namespace] : {common})")
}

fn pairs(ranges: &[Range]) -> String {
    let pairs: Vec<String> = ranges
        .iter()
        .map(|range| format!("[{}, {}]", range.from, range.to))
        .collect();
    format!("[{}]", pairs.join(", "))
}

fn written(ranges: &[Range]) -> String {
    let one = |range: &Range| match range {
        Range { from, to } if from == to => from.to_string(),
        Range { from, to } => format!("{from}-{to}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The settings hold letters, digits, `-`, `_` and `.` alone.
fn escaped(domain: &str) -> String {
    domain.replace('.', "[.]")
}

/// A policy's own name, and whether an update may keep what it has.
struct Named<'a> {
    name: &'a str,
    ratchets: bool,
}

impl Named<'_> {
    /// `field: problem; fix`, as the policy says it.
    fn message(&self, rest: &str) -> String {
        format!("[{}] {rest}", self.name)
    }

    fn rule(&self, holds: String, message: &str, says: Option<String>) -> Rule {
        let says = says.map(|says| format!("{} + {says}", text(&self.message(""))));
        Rule {
            holds,
            message: self.message(message),
            says,
        }
    }

    /// Allows an update to keep something; where it must not, still that of a Service in deletion.
    fn kept(&self, same: &str) -> String {
        let update = if self.ratchets {
            "request.operation == 'UPDATE'"
        } else {
            IN_DELETION
        };
        format!("({update} && {same})")
    }

    fn service_type(&self, settings: &ServiceType) -> Translated {
        const ALL: [&str; 4] = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
        let is_all = |types: &[String]| {
            ALL.iter()
                .all(|ty| types.iter().any(|allowed| allowed == ty))
        };
        let mut own = settings
            .per_namespace
            .get()
            .into_iter()
            .flat_map(BTreeMap::values);
        if is_all(&settings.allowed_types) && own.all(|types| is_all(types)) {
            return (vec![], vec![]);
        }
        let write = |types: &Vec<String>| list(types.iter().map(String::as_str));
        let allowed = for_namespace(
            &settings.per_namespace,
            &write(&settings.allowed_types),
            write,
        );
        let found = type_of("object");
        let kept = self.kept(&format!("{} == {found}", type_of("oldObject")));
        let says = format!(
            "'spec.type: ' + {found} + ' is not allowed in namespace \"' + request.namespace + \
             '\"; use ' + {allowed}.join(' or ')"
        );
        let rule = self.rule(
            format!("{found} in {allowed} || {kept}"),
            "spec.type: this type is not allowed in this namespace",
            Some(says),
        );
        (vec![rule], vec![])
    }

    fn node_port_range(&self, settings: &NodePortRange) -> Translated {
        if settings.auto_assigned == "allow" {
            let why = "with autoAssigned: allow it matters who chose a port, which CEL can't tell";
            return (vec![], vec![why.to_owned()]);
        }
        let ranges = for_namespace(
            &settings.per_namespace,
            &pairs(&settings.ranges),
            |ranges| pairs(ranges),
        );
        let reserved = pairs(&settings.reserved);
        let allowed = |port: &str| {
            let within =
                |ranges: &str| format!("{ranges}.exists(r, {port} >= r[0] && {port} <= r[1])");
            let free = if settings.reserved.is_empty() {
                String::new()
            } else {
                format!(" && !{}", within(&reserved))
            };
            format!("({}{free})", within(&ranges))
        };
        let what = match settings.per_namespace.get() {
            None if settings.reserved.is_empty() => written(&settings.ranges),
            _ => "the node ports that are allowed here".to_owned(),
        };
        let mut rules = vec![self.node_ports(&allowed, &what)];
        if settings.include_health_check {
            rules.push(self.health_checks(&allowed, &what));
        }
        let mut gaps = vec!["dry runs, in which the API server invents ports".to_owned()];
        if settings.auto_assigned == "deny" {
            gaps.push("ports inside the ranges that the API server allocated".to_owned());
        }
        if settings.static_only {
            gaps.push("ports inside the ranges but outside the static band".to_owned());
        }
        (rules, gaps)
    }

    fn node_ports(&self, allowed: &dyn Fn(&str) -> String, what: &str) -> Rule {
        let opens = |object: &str| {
            format!(
                "{} in ['NodePort', 'LoadBalancer'] && has({object}.spec.ports)",
                type_of(object)
            )
        };
        let protocol = |port: &str| format!("(has({port}.protocol) ? {port}.protocol : 'TCP')");
        let same = format!(
            "has(o.nodePort) && o.nodePort == p.nodePort && {} == {}",
            protocol("o"),
            protocol("p")
        );
        let kept = self.kept(&format!(
            "{} && oldObject.spec.ports.exists(o, {same})",
            opens("oldObject")
        ));
        let fine = format!(
            "!has(p.nodePort) || p.nodePort == 0 || {} || {kept}",
            allowed("p.nodePort")
        );
        let first = format!("object.spec.ports.filter(p, !({fine}))[0].nodePort");
        self.rule(
            format!(
                "{DRY_RUN} || !({}) || object.spec.ports.all(p, {fine})",
                opens("object")
            ),
            &format!("spec.ports: a node port is outside {what}"),
            Some(format!(
                "'spec.ports: node port ' + string({first}) + ' is outside ' + {}",
                text(what)
            )),
        )
    }

    fn health_checks(&self, allowed: &dyn Fn(&str) -> String, what: &str) -> Rule {
        let opens = |object: &str| {
            format!(
                "{} == 'LoadBalancer' && has({object}.spec.externalTrafficPolicy) && \
                 {object}.spec.externalTrafficPolicy == 'Local' && \
                 has({object}.spec.healthCheckNodePort) && {object}.spec.healthCheckNodePort != 0",
                type_of(object)
            )
        };
        let port = "object.spec.healthCheckNodePort";
        let kept = self.kept(&format!(
            "{} && oldObject.spec.healthCheckNodePort == {port}",
            opens("oldObject")
        ));
        self.rule(
            format!(
                "{DRY_RUN} || !({}) || {} || {kept}",
                opens("object"),
                allowed(port)
            ),
            &format!("spec.healthCheckNodePort: it is outside {what}"),
            Some(format!(
                "'spec.healthCheckNodePort: ' + string({port}) + ' is outside ' + {}",
                text(what)
            )),
        )
    }

    fn external_ips(&self, settings: &ExternalIps) -> Translated {
        let kept = self.kept("has(oldObject.spec.externalIPs) && ip in oldObject.spec.externalIPs");
        let blocks = list(settings.allowed_cidrs.iter().map(String::as_str));
        let (fine, problem, fix) = if settings.allowed_cidrs.is_empty() {
            (
                "false".to_owned(),
                "external IPs are not allowed",
                "remove it".to_owned(),
            )
        } else {
            let fine = format!("!isIP(ip) || {blocks}.exists(c, cidr(c).containsIP(ip))");
            let fix = format!("use an address in {}", settings.allowed_cidrs.join(" or "));
            (fine, "it is in none of the allowed blocks", fix)
        };
        let message = format!("spec.externalIPs: {problem}; {fix}");
        let holds = format!(
            "!has(object.spec.externalIPs) || object.spec.externalIPs.all(ip, {fine} || {kept})"
        );
        let gap = "external IPs that were without effect and come to life by a change of the type"
            .to_owned();
        (
            vec![self.rule(holds, &message, None)],
            if self.ratchets { vec![gap] } else { vec![] },
        )
    }

    fn external_name(&self, settings: &ExternalName) -> Translated {
        let never = "n.contains(':') || n.matches('(^|[.])(0x[0-9a-f]*|[0-9]+)[.]?$') || \
            n.matches('(^|[.])(localhost|localdomain)[.]?$')";
        let domains: Vec<String> = settings
            .cluster_domains
            .iter()
            .map(|domain| escaped(&normal(domain)))
            .collect();
        let internal = if domains.is_empty() {
            String::new()
        } else {
            format!(" || n.matches('(^|[.])({})[.]?$')", domains.join("|"))
        };
        let closed = format!(
            "n.matches('[.](svc|pod|default|kube-system|kube-public|kube-node-lease)[.]?$')\
             {internal} || n.matches('^[^.]*[.]?$')"
        );
        let permits: Vec<String> = settings
            .allowed_suffixes
            .iter()
            .map(|suffix| permit(suffix))
            .collect();
        let (others, fix) = if permits.is_empty() {
            (
                closed,
                "use the full name of a host outside the cluster".to_owned(),
            )
        } else {
            let fix = format!(
                "use a name with an allowed suffix: {}",
                settings.allowed_suffixes.join(", ")
            );
            (format!("!({})", permits.join(" || ")), fix)
        };
        let old = "has(oldObject.spec.externalName) && \
            [oldObject.spec.externalName.lowerAscii()].exists(o, o == n || o + '.' == n || o == n \
            + '.')";
        let kept = self.kept(&format!(
            "{} == 'ExternalName' && {old}",
            type_of("oldObject")
        ));
        let holds = format!(
            "{} != 'ExternalName' || !has(object.spec.externalName) || object.spec.externalName == \
             '' || [object.spec.externalName.lowerAscii()].all(n, !({never} || {others}) || \
             {kept})",
            type_of("object")
        );
        let says = format!(
            "'spec.externalName: \"' + object.spec.externalName + '\" is no name that an alias may \
             lead to; ' + {}",
            text(&fix)
        );
        let message = format!("spec.externalName: no name that an alias may lead to; {fix}");
        let mut gaps = vec!["the names of clouds' metadata services".to_owned()];
        if !permits.is_empty() {
            gaps.push("names inside the cluster that an allowed suffix holds by chance".to_owned());
        }
        (vec![self.rule(holds, &message, Some(says))], gaps)
    }

    fn load_balancers(&self, settings: &LoadBalancers) -> Translated {
        let on_prem = settings.environment == "onPrem";
        let given = if !settings.allowed_classes.is_empty() {
            format!(
                "object.spec.loadBalancerClass in {}",
                list(settings.allowed_classes.iter().map(String::as_str))
            )
        } else {
            (!on_prem).to_string()
        };
        let absent = !settings.require_class && (settings.allow_classless || !on_prem);
        let gaps = match settings.environment.as_str() {
            "auto" => vec![
                "whether anything serves a LoadBalancer here, which the Nodes or the host's \
                 configuration tell"
                    .to_owned(),
            ],
            _ => vec![],
        };
        if given == "true" && absent {
            return (vec![], gaps);
        }
        let class = |object: &str| {
            format!(
                "(has({object}.spec.loadBalancerClass) ? 'class ' + \
                 {object}.spec.loadBalancerClass : '')"
            )
        };
        let kept = self.kept(&format!(
            "{} == 'LoadBalancer' && {} == {}",
            type_of("oldObject"),
            class("oldObject"),
            class("object")
        ));
        let holds = format!(
            "{} != 'LoadBalancer' || (has(object.spec.loadBalancerClass) ? {given} : {absent}) || \
             {kept}",
            type_of("object")
        );
        let message = if settings.allowed_classes.is_empty() {
            "spec.type: nothing serves this LoadBalancer here, or it must name its class; use \
             ClusterIP or NodePort"
                .to_owned()
        } else {
            let classes = settings.allowed_classes.join(" or ");
            format!("spec.loadBalancerClass: not among the allowed classes; use {classes}")
        };
        (vec![self.rule(holds, &message, None)], gaps)
    }

    fn selectorless(&self, settings: &Selectorless) -> Translated {
        let has = |object: &str| {
            format!("(has({object}.spec.selector) && size({object}.spec.selector) > 0)")
        };
        let (found, old) = (type_of("object"), type_of("oldObject"));
        let kept = self.kept(&format!("{old} == {found} && !{}", has("oldObject")));
        let types = list(settings.types.iter().map(String::as_str));
        let holds = format!("!({found} in {types}) || {} || {kept}", has("object"));
        let says = format!(
            "'spec.selector: a ' + {found} + ' must have a selector: without one it leads wherever \
             its EndpointSlices say; name the labels of the Pods that it is for, or use type \
             ClusterIP'"
        );
        let message =
            "spec.selector: a Service that opens a way into the cluster must have a selector";
        (vec![self.rule(holds, message, Some(says))], vec![])
    }
}

/// In a dry run the API server invents ports.
const DRY_RUN: &str = "(has(request.dryRun) && request.dryRun)";

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Names below `.example.com`; those and itself for `example.com`.
fn permit(suffix: &str) -> String {
    let suffix = normal(suffix);
    match suffix.strip_prefix('.') {
        Some(domain) => format!("n.matches('[.]{}[.]?$')", escaped(domain)),
        None => format!("n.matches('(^|[.]){}[.]?$')", escaped(&suffix)),
    }
}
