use super::Refusals;
use crate::api_server::{defaults, unknown};
use crate::{decode, yaml};
use k8s_openapi::api::core::v1::Service;

/// The fields that the API server refuses in a Service with this metadata and spec.
fn fields(text: &str) -> Vec<String> {
    let text = format!("apiVersion: v1\nkind: Service\n{text}\n");
    let mut value = yaml::located_documents(&text).expect("valid")[0].value();
    let unknown = unknown(&value);
    defaults::apply(&mut value);
    let mut refusals = Refusals::default();
    refusals.service(&decode::from_value::<Service>(&value).expect("a Service"));
    let all = unknown.into_iter().chain(refusals.into_inner());
    all.map(|refusal| refusal.field).collect()
}

#[test]
fn what_the_api_server_refuses_is_found() {
    for (spec, expected) in [
        ("{}", "spec.ports"),
        ("{type: NodePort}", "spec.ports"),
        ("{ports: [{port: 70000}]}", "spec.ports[0].port"),
        ("{ports: [{port: 0}]}", "spec.ports[0].port"),
        (
            "{ports: [{name: Bad_Name, port: 80}]}",
            "spec.ports[0].name",
        ),
        (
            "{ports: [{name: a, port: 80}, {port: 81}]}",
            "spec.ports[1].name",
        ),
        (
            "{ports: [{name: a, port: 80}, {name: a, port: 81}]}",
            "spec.ports[1].name",
        ),
        (
            "{ports: [{name: a, port: 80}, {name: b, port: 80}]}",
            "spec.ports[1].port",
        ),
        (
            "{ports: [{port: 80, protocol: tcp}]}",
            "spec.ports[0].protocol",
        ),
        (
            "{ports: [{port: 80, targetPort: 70000}]}",
            "spec.ports[0].targetPort",
        ),
        (
            "{ports: [{port: 80, targetPort: \"8080\"}]}",
            "spec.ports[0].targetPort",
        ),
        (
            "{ports: [{port: 80, appProtocol: a/b/c}]}",
            "spec.ports[0].appProtocol",
        ),
        (
            "{ports: [{port: 80, nodePort: 30080}]}",
            "spec.ports[0].nodePort",
        ),
        (
            "{type: NodePort, ports: [{port: 80, nodePort: 70000}]}",
            "spec.ports[0].nodePort",
        ),
        (
            "{type: NodePort, ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: \
             81, nodePort: 30080}]}",
            "spec.ports[1].nodePort",
        ),
        (
            "{type: NodePort, clusterIP: None, ports: [{port: 80}]}",
            "spec.clusterIP",
        ),
        ("{clusterIP: x, ports: [{port: 80}]}", "spec.clusterIP"),
        (
            "{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2], ports: [{port: 80}]}",
            "spec.clusterIP",
        ),
        (
            "{clusterIPs: [10.0.0.1, 10.0.0.2], ports: [{port: 80}]}",
            "spec.clusterIPs",
        ),
        (
            "{clusterIPs: [None, 10.0.0.2], ports: [{port: 80}]}",
            "spec.clusterIPs",
        ),
        (
            "{selector: {\"a b\": c}, ports: [{port: 80}]}",
            "spec.selector[\"a b\"]",
        ),
        (
            "{selector: {a: \"b c\"}, ports: [{port: 80}]}",
            "spec.selector[\"a\"]",
        ),
        (
            "{externalIPs: [x], ports: [{port: 80}]}",
            "spec.externalIPs[0]",
        ),
        (
            "{externalIPs: [127.0.0.1], ports: [{port: 80}]}",
            "spec.externalIPs[0]",
        ),
        (
            "{type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.1], ports: [{port: 80}]}",
            "spec.loadBalancerSourceRanges",
        ),
        (
            "{loadBalancerSourceRanges: [10.0.0.0/8], ports: [{port: 80}]}",
            "spec.loadBalancerSourceRanges",
        ),
        (
            "{type: NodePort, loadBalancerClass: a.b/c, ports: [{port: 80}]}",
            "spec.loadBalancerClass",
        ),
        (
            "{type: LoadBalancer, loadBalancerClass: a b, ports: [{port: 80}]}",
            "spec.loadBalancerClass",
        ),
        (
            "{allocateLoadBalancerNodePorts: false, ports: [{port: 80}]}",
            "spec.allocateLoadBalancerNodePorts",
        ),
        (
            "{sessionAffinity: clientIP, ports: [{port: 80}]}",
            "spec.sessionAffinity",
        ),
        (
            "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: \
             0}}, ports: [{port: 80}]}",
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        ),
        (
            "{internalTrafficPolicy: local, ports: [{port: 80}]}",
            "spec.internalTrafficPolicy",
        ),
        (
            "{ipFamilyPolicy: DualStack, ports: [{port: 80}]}",
            "spec.ipFamilyPolicy",
        ),
        (
            "{ipFamilies: [IPv4, IPv4], ports: [{port: 80}]}",
            "spec.ipFamilies[1]",
        ),
        (
            "{ipFamilies: [ipv4], ports: [{port: 80}]}",
            "spec.ipFamilies[0]",
        ),
        (
            "{trafficDistribution: Close, ports: [{port: 80}]}",
            "spec.trafficDistribution",
        ),
        (
            "{externalTrafficPolicy: Local, ports: [{port: 80}]}",
            "spec.externalTrafficPolicy",
        ),
        (
            "{type: NodePort, externalTrafficPolicy: local, ports: [{port: 80}]}",
            "spec.externalTrafficPolicy",
        ),
        (
            "{type: LoadBalancer, healthCheckNodePort: 30081, ports: [{port: 80}]}",
            "spec.healthCheckNodePort",
        ),
        ("{type: ExternalName}", "spec.externalName"),
        (
            "{type: ExternalName, externalName: a_b}",
            "spec.externalName",
        ),
        (
            "{type: ExternalName, externalName: a.b, clusterIP: None}",
            "spec.clusterIP",
        ),
    ] {
        assert_eq!(
            fields(&format!("metadata: {{name: web}}\nspec: {spec}")),
            [expected],
            "{spec}"
        );
    }
}

#[test]
fn metadata_is_looked_at_too() {
    let annotation = format!(
        "{{name: web, annotations: {{\"{}\": 10.0.0.0/8}}}}",
        super::addresses::SOURCE_RANGES
    );
    for (metadata, expected) in [
        ("{}", "metadata.name".to_owned()),
        ("{name: Web}", "metadata.name".to_owned()),
        ("{name: a.b}", "metadata.name".to_owned()),
        ("{generateName: Web-}", "metadata.generateName".to_owned()),
        (
            "{name: web, namespace: a_b}",
            "metadata.namespace".to_owned(),
        ),
        (
            "{name: web, labels: {a: \"-\"}}",
            "metadata.labels[\"a\"]".to_owned(),
        ),
        (
            "{name: web, annotations: {a b: c}}",
            "metadata.annotations[\"a b\"]".to_owned(),
        ),
        (
            &annotation,
            format!(
                "metadata.annotations[{:?}]",
                super::addresses::SOURCE_RANGES
            ),
        ),
    ] {
        assert_eq!(
            fields(&format!(
                "metadata: {metadata}\nspec: {{ports: [{{port: 80}}]}}"
            )),
            [expected],
            "{metadata}"
        );
    }
}

#[test]
fn what_the_api_server_takes_is_not_found() {
    for spec in [
        "{ports: [{port: 80}]}",
        "{clusterIP: None}",
        "{clusterIP: \"\", ports: [{port: 80, targetPort: 0}]}",
        "{type: NodePort, ports: [{name: a, port: 53, nodePort: 30053}, {name: b, port: 53, \
         nodePort: 30053, protocol: UDP}]}",
        "{type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30081, ports: \
         [{port: 80}]}",
        "{type: LoadBalancer, loadBalancerSourceRanges: [\" 10.0.0.0/8 \"], loadBalancerClass: \
         a.b/c, ports: [{port: 80}]}",
        "{externalIPs: [192.0.2.1], externalTrafficPolicy: Local, ports: [{port: 80}]}",
        "{clusterIPs: [10.0.0.1, \"2001:db8::1\"], clusterIP: 10.0.0.1, ports: [{port: 80}]}",
        "{type: ExternalName, externalName: db.example.com.}",
        "{sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, ports: [{port: 80}]}",
        "{selector: {app.kubernetes.io/name: \"\"}, ports: [{port: 80, name: 1-a, appProtocol: \
         kubernetes.io/h2c}]}",
    ] {
        assert_eq!(
            fields(&format!("metadata: {{name: web}}\nspec: {spec}")),
            Vec::<String>::new(),
            "{spec}"
        );
    }
    assert!(fields("metadata: {generateName: web-}\nspec: {ports: [{port: 80}]}").is_empty());
}
