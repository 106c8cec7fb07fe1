//! The baseline for the cost of a fresh instance: a policy's component without a host around it,
//! one instance that is configured with its defaults and called repeatedly. The host never does
//! that.

use sallyport_core::contract::review::{Namespace, Operation, Phase, Resource, Review, User};
use sallyport_core::contract::verdict::Verdict;
use sallyport_core::contract::{PACKAGE, VERSION};
use sallyport_core::service;
use serde_json::json;
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
    let service = json!({
        "metadata": {"name": "nodeport-explicit", "namespace": "cap",
            "uid": "1566e749-2844-408a-b8f8-d5c2af31a09a",
            "creationTimestamp": "2026-11-28T12:07:48Z"},
        "spec": {
            "type": "NodePort", "selector": {"app": "a"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}],
            "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"], "externalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
        },
    });
    let service = service::from_value(&service).expect("a Service");
    Review {
        phase: Phase::Validating,
        operation: Operation::Create,
        resource: Resource::Services,
        dry_run: false,
        user: User {
            name: "admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
            uid: None,
            extra: vec![],
        },
        service,
        old_service: None,
        object: None,
        old_object: None,
        namespace: Namespace {
            name: "cap".to_owned(),
            labels: vec![],
            known: true,
            annotations: None,
        },
        cluster: sallyport_core::inventory::Inventory::default()
            .view()
            .cluster(),
        selected_pods: None,
        time: 1_790_000_000,
    }
}
