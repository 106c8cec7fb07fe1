//! The baseline for the cost of a fresh instance: a policy's component without a host around it,
//! one instance that is configured with its defaults and called repeatedly. The host never does
//! that.

use sallyport_core::contract::review::{Namespace, Operation, Phase, Resource, Review, User};
use sallyport_core::contract::service::{
    Metadata, Port, Service, ServiceType, Spec, Status, TargetPort,
};
use sallyport_core::contract::verdict::Verdict;
use sallyport_core::contract::{PACKAGE, VERSION};
use std::hint::black_box;
use wasmtime::component::{Component, InstancePre, Linker, TypedFunc, Val};
use wasmtime::{Config, Engine, Store};

/// A compiled component.
pub(crate) struct Reused {
    pre: InstancePre<()>,
}

/// An instance that is called repeatedly.
pub(crate) struct Used {
    store: Store<()>,
    validate: TypedFunc<(&'static Review,), (Verdict,)>,
    review: &'static Review,
}

impl Reused {
    pub(crate) fn new(component: &[u8]) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        // The host's setting, so that the compiled code is the same.
        config.epoch_interruption(true);
        let engine = Engine::new(&config)?;
        let (component, mut linker) = (Component::new(&engine, component)?, Linker::new(&engine));
        linker.define_unknown_imports_as_traps(&component)?;
        Ok(Self {
            pre: linker.instantiate_pre(&component)?,
        })
    }

    pub(crate) fn instance(&self) -> Used {
        let mut store = Store::new(self.pre.engine(), ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self
            .pre
            .instantiate(&mut store)
            .expect("a shipped component");
        let mut defaults = [Val::Bool(false)];
        let function =
            |store: &mut Store<()>, name| instance.get_func(store, name).expect("exported");
        function(&mut store, "defaults")
            .call(&mut store, &[], &mut defaults)
            .expect("defaults");
        let mut answer = [Val::Bool(false)];
        function(&mut store, "configure")
            .call(&mut store, &defaults, &mut answer)
            .expect("defaults are valid");
        let interface =
            instance.get_export_index(&mut store, None, &format!("{PACKAGE}/policy@{VERSION}"));
        let validate = instance
            .get_export_index(&mut store, interface.as_ref(), "validate")
            .expect("exported");
        let validate = instance
            .get_typed_func(&mut store, validate)
            .expect("the contract's types");
        Used {
            store,
            validate,
            review: Box::leak(Box::new(review())),
        }
    }
}

impl Used {
    pub(crate) fn ask(&mut self) {
        black_box(
            self.validate
                .call(&mut self.store, (self.review,))
                .expect("a verdict"),
        );
    }
}

/// Returns a review of a NodePort Service, the same as the example's.
fn review() -> Review {
    let port = Port {
        name: None,
        protocol: "TCP".to_owned(),
        app_protocol: None,
        port: 80,
        target_port: Some(TargetPort::Number(8080)),
        node_port: Some(30080),
        node_port_by_client: true,
    };
    let service = Service {
        metadata: Metadata {
            name: "nodeport-explicit".to_owned(),
            generate_name: None,
            namespace: "cap".to_owned(),
            labels: vec![],
            annotations: vec![],
            deletion_timestamp: None,
        },
        has_spec: true,
        spec: Spec {
            type_: Some(ServiceType::NodePort),
            ports: vec![port],
            selector: vec![("app".to_owned(), "a".to_owned())],
            cluster_ip: Some("10.0.0.9".to_owned()),
            external_ips: vec![],
            external_name: None,
            external_traffic_policy: Some("Cluster".to_owned()),
            external_traffic_policy_by_client: false,
            health_check_node_port: None,
            health_check_node_port_by_client: false,
            allocate_load_balancer_node_ports: None,
            allocate_load_balancer_node_ports_by_client: false,
            load_balancer_class: None,
            load_balancer_ip: None,
            load_balancer_source_ranges: vec![],
            publish_not_ready_addresses: false,
        },
        status: Status {
            load_balancer_ingress: vec![],
        },
    };
    Review {
        phase: Phase::Validating,
        operation: Operation::Create,
        resource: Resource::Services,
        dry_run: false,
        user: User {
            name: "admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
        },
        service,
        old_service: None,
        namespace: Namespace {
            name: "cap".to_owned(),
            labels: vec![],
            known: true,
        },
        cluster: sallyport_core::inventory::Inventory::default()
            .view()
            .cluster(),
        selected_pods: None,
        time: 1_790_000_000,
    }
}
