//! Annotations by which a controller takes an address that the Service names.
//!
//! Where nothing checks the address, a Service can take over any address, as with
//! `spec.externalIPs` (CVE-2020-8554): rule S08. Where a pool or the cloud's account limits it, the
//! annotation is another form of `spec.loadBalancerIP`: rule S13.

use sallyport_policy::service::{Service, ServiceType};

/// The limit on the addresses that a Service can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Nothing: the controller takes any address.
    Nothing,
    /// Pools of addresses in the cluster, or what the cloud's account or network owns.
    Pool,
}

/// An annotation that names addresses.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The controller that reads it.
    pub by: &'static str,
    /// The annotation.
    pub key: &'static str,
    /// The limit on the addresses.
    pub checked: Checked,
    /// The source.
    #[cfg(not(target_family = "wasm"))]
    pub source: &'static str,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "the source is for people")
)]
const fn row(by: &'static str, key: &'static str, checked: Checked, source: &'static str) -> Names {
    Names {
        by,
        key,
        checked,
        #[cfg(not(target_family = "wasm"))]
        source,
    }
}

/// Every annotation that is known to name addresses. [`super::pools`] has those that name an
/// address by its resource's ID or name, which says nothing about the address.
pub static NAMES: [Names; 26] = [
    row(
        "azure",
        "service.beta.kubernetes.io/azure-additional-public-ips",
        Checked::Nothing,
        "kubernetes-sigs/cloud-provider-azure pkg/provider/azure_loadbalancer.go copies them into \
         the status, so that kube-proxy \
            programs them; a list with commas",
    ),
    row(
        "kube-loxilb",
        "loxilb.io/staticIP",
        Checked::Nothing,
        "loxilb-io/kube-loxilb pkg/agent/manager/loadbalancer/loadbalancer.go: any address that \
         parses",
    ),
    row(
        "kube-loxilb",
        "loxilb.io/secondaryIPs",
        Checked::Nothing,
        "the same file; a list with commas",
    ),
    row(
        "f5-cis",
        "cis.f5.com/ip",
        Checked::Nothing,
        "F5Networks/k8s-bigip-ctlr docs: the address of the virtual server, in place of its IPAM",
    ),
    row(
        "metallb",
        "metallb.io/loadBalancerIPs",
        Checked::Pool,
        "metallb/metallb controller/service.go; a list with commas, blanks trimmed",
    ),
    row(
        "metallb",
        "metallb.universe.tf/loadBalancerIPs",
        Checked::Pool,
        "the same file: the older key",
    ),
    row(
        "kube-vip",
        "kube-vip.io/loadbalancerIPs",
        Checked::Pool,
        "kube-vip/kube-vip pkg/instance/instance.go; kube-vip itself takes any address, its cloud \
         provider one of a pool where \
            none is named; a list with commas, blanks trimmed",
    ),
    row(
        "kube-vip",
        "kube-vip.io/requestedIP",
        Checked::Pool,
        "the same file: asked of the DHCP server",
    ),
    row(
        "cilium",
        "lbipam.cilium.io/ips",
        Checked::Pool,
        "cilium/cilium pkg/annotation/k8s.go and operator/pkg/lbipam; a list with commas",
    ),
    row(
        "cilium",
        "io.cilium/lb-ipam-ips",
        Checked::Pool,
        "the same file: the older key",
    ),
    row(
        "calico",
        "projectcalico.org/loadBalancerIPs",
        Checked::Pool,
        "projectcalico/calico kube-controllers/pkg/controllers/loadbalancer; a JSON list",
    ),
    row(
        "purelb",
        "purelb.io/addresses",
        Checked::Pool,
        "purelb/purelb pkg/apis/purelb/v2/annotations.go; a list with commas",
    ),
    row(
        "openelb",
        "eip.openelb.kubesphere.io/v1alpha1",
        Checked::Pool,
        "openelb/openelb pkg/controllers/ipam/ipam.go; wins over spec.loadBalancerIP",
    ),
    row(
        "ako",
        "ako.vmware.com/load-balancer-ip",
        Checked::Pool,
        "vmware/load-balancer-and-ingress-services-for-kubernetes docs/objects.md: of the network \
         that the Avi controller serves",
    ),
    row(
        "azure",
        "service.beta.kubernetes.io/azure-load-balancer-ipv4",
        Checked::Pool,
        "kubernetes-sigs/cloud-provider-azure pkg/provider/azure_utils.go; wins over \
         spec.loadBalancerIP",
    ),
    row(
        "azure",
        "service.beta.kubernetes.io/azure-load-balancer-ipv6",
        Checked::Pool,
        "the same file",
    ),
    row(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-private-ipv4-addresses",
        Checked::Pool,
        "kubernetes-sigs/aws-load-balancer-controller pkg/service/model_build_load_balancer.go: of \
         the subnets; \
            kubernetes/cloud-provider-aws reads it, too",
    ),
    row(
        "aws-lbc",
        "service.beta.kubernetes.io/aws-load-balancer-ipv6-addresses",
        Checked::Pool,
        "the same file",
    ),
    row(
        "oci",
        "oci-network-load-balancer.oraclecloud.com/assigned-private-ipv4",
        Checked::Pool,
        "oracle/oci-cloud-controller-manager pkg/cloudprovider/providers/oci/load_balancer_spec.go",
    ),
    row(
        "oci",
        "oci-network-load-balancer.oraclecloud.com/assigned-ipv6",
        Checked::Pool,
        "the same file",
    ),
    row(
        "hcloud",
        "load-balancer.hetzner.cloud/private-ipv4",
        Checked::Pool,
        "hetznercloud/hcloud-cloud-controller-manager internal/hcops/load_balancer.go: in the \
         private network",
    ),
    row(
        "alibaba",
        "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-ip",
        Checked::Pool,
        "kubernetes/cloud-provider-alibaba-cloud \
         pkg/controller/service/reconcile/annotation/annotations.go",
    ),
    row(
        "digitalocean",
        "service.beta.kubernetes.io/do-loadbalancer-ip",
        Checked::Pool,
        "digitalocean/digitalocean-cloud-controller-manager \
         cloud-controller-manager/do/lb_annotations.go: of the account",
    ),
    row(
        "linode",
        "service.beta.kubernetes.io/linode-loadbalancer-reserved-ipv4",
        Checked::Pool,
        "linode/linode-cloud-controller-manager cloud/linode/loadbalancers.go: of the account",
    ),
    row(
        "stackit",
        "lb.stackit.cloud/external-address",
        Checked::Pool,
        "stackitcloud/cloud-provider-stackit pkg/ccm/loadbalancer_spec.go: of the project",
    ),
    row(
        "stackit",
        "yawol.stackit.cloud/existingFloatingIP",
        Checked::Pool,
        "the same file: the older key",
    ),
];

/// An address that a Service asks for by an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The annotation, as the Service spells it.
    pub key: &'a str,
    /// The text of the address, without the blanks around it; not necessarily an address.
    pub text: &'a str,
}

/// The most addresses that [`asked`] returns. No load balancer has so many, so that a caller that
/// gets them refuses the Service.
pub const MAX_ASKED: usize = 256;

/// Returns the addresses that a LoadBalancer asks for by annotations, in the order of the table, up
/// to [`MAX_ASKED`]. Other types ask for none. Keys match without regard to case, because the match
/// restricts.
pub fn asked(service: &Service, checked: Checked) -> Vec<Asked<'_>> {
    let mut found = vec![];
    if service.service_type() != ServiceType::LoadBalancer {
        return found;
    }
    for row in NAMES.iter().filter(|row| row.checked == checked) {
        for (key, value) in &service.metadata.annotations {
            if key.eq_ignore_ascii_case(row.key) {
                let room = MAX_ASKED - found.len();
                found.extend(parts(value).take(room).map(|text| Asked { key, text }));
            }
        }
    }
    found
}

/// Takes a list apart, and leaves out what is blank. Lists have commas; JSON has brackets and
/// quotes. No address holds one of these.
pub(super) fn parts(value: &str) -> impl Iterator<Item = &str> {
    let is_separator = |c| matches!(c, ',' | ';' | '[' | ']' | '"');
    value
        .split(is_separator)
        .map(str::trim_ascii)
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::{labels, load_balancer, node_port};

    #[test]
    fn every_spelling_of_a_list_is_taken_apart() {
        let mut service = load_balancer("w", 80);
        service.metadata.annotations = labels([
            ("metallb.io/loadBalancerIPs", " 192.0.2.1, 2001:db8::1 ,"),
            (
                "projectcalico.org/loadBalancerIPs",
                r#"["192.0.2.2", "192.0.2.3"]"#,
            ),
            (
                "service.beta.kubernetes.io/azure-additional-public-ips",
                "8.8.8.8",
            ),
        ]);
        let texts = |checked| {
            asked(&service, checked)
                .into_iter()
                .map(|asked| asked.text)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            texts(Checked::Pool),
            ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"]
        );
        assert_eq!(texts(Checked::Nothing), ["8.8.8.8"]);
    }

    #[test]
    fn keys_match_in_any_case_and_lists_end_at_the_bound() {
        let mut service = load_balancer("w", 80);
        let many = "192.0.2.1,".repeat(2 * MAX_ASKED);
        service.metadata.annotations = labels([
            ("MetalLB.io/loadbalancerips", many.as_str()),
            ("kube-vip.io/loadbalancerIPs", "192.0.2.2"),
        ]);
        let found = asked(&service, Checked::Pool);
        assert_eq!(found.len(), MAX_ASKED);
        assert_eq!(found[0].key, "MetalLB.io/loadbalancerips");
    }

    #[test]
    fn only_a_load_balancer_asks() {
        let mut service = node_port("w", 80, 30080);
        service.metadata.annotations = labels([("loxilb.io/staticIP", "8.8.8.8")]);
        assert_eq!(asked(&service, Checked::Nothing), []);
    }
}
