//! Two replicas behind one Service reference, which is called over HTTP/1.1.
//!
//! `Endpoints` stands in for kube-proxy: it listens on the Service's cluster IP, a loopback
//! address, and passes each connection to the first replica that accepts it.

use crate::creator::Creator;
use crate::webhook::{At, Host, Registration};
use sallyport_tests::cluster::{Cluster, Signed, free_port};
use sallyport_tests::wait_for;
use serde_json::json;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The replicas' current addresses, and the one that gets the next connection first.
#[derive(Clone)]
pub(crate) struct Endpoints {
    replicas: Arc<Mutex<[SocketAddr; 2]>>,
    turn: Arc<AtomicUsize>,
}

impl Endpoints {
    /// Forwards connections until the test binary ends.
    pub(crate) fn listen(address: SocketAddr, replicas: [SocketAddr; 2]) -> Self {
        let endpoints = Self {
            replicas: Arc::new(Mutex::new(replicas)),
            turn: Arc::default(),
        };
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let forwarding = endpoints.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                forwarding.forward(&client);
            }
        });
        endpoints
    }

    fn forward(&self, client: &TcpStream) {
        let replicas = *self.replicas.lock().expect("no panic");
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % replicas.len();
        let order = [replicas[first], replicas[1 - first]];
        if let Some(replica) = order
            .iter()
            .find_map(|replica| TcpStream::connect(replica).ok())
        {
            join(client, &replica).expect("both are open");
        }
    }

    /// Directs new connections to this replica instead of the one at `place`.
    pub(crate) fn replace(&self, place: usize, replica: SocketAddr) {
        self.replicas.lock().expect("no panic")[place] = replica;
    }
}

/// Copies in both directions, and closes both connections when one ends.
fn join(client: &TcpStream, replica: &TcpStream) -> io::Result<()> {
    for (from, to) in [(client, replica), (replica, client)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        to.set_nodelay(true)?;
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn services_are_written_while_one_of_two_replicas_is_killed() {
    let cluster = Cluster::new("replicas");
    let port = free_port();
    let ip = create_service(&cluster, port);
    let (one, two) = (Host::shipped(&cluster), Host::shipped(&cluster));
    Endpoints::listen(
        SocketAddr::new(ip.parse().expect("an address"), port),
        [one.address, two.address],
    );
    let ca = [one.ca.as_str(), &two.ca].concat();
    let at = At::Service("sallyport-system", "sallyport", port);
    Registration {
        at,
        ca: &ca,
        ..Registration::of(&two)
    }
    .apply(&cluster);

    let mut one = Some(one);
    for count in 0..20 {
        if count == 10 {
            drop(one.take());
        }
        let written = cluster.kubectl(&[
            "create",
            "service",
            "clusterip",
            &format!("web-{count}"),
            "--tcp=80",
        ]);
        assert!(written.done, "the Service after {count}: {}", written.err);
    }
    let denied = cluster
        .kubectl(&["create", "-f", "docs/examples/load-balancer.yaml"])
        .error();
    assert!(denied.contains("[loadbalancer-cloud-only]"), "{denied}");
}

/// Replaces the replicas as a Deployment does with `maxSurge: 1` and `maxUnavailable: 0`: the new
/// one starts first, then the old one drains.
#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn no_service_is_refused_while_both_replicas_are_replaced() {
    let cluster = Cluster::new("restarted");
    let port = free_port();
    let ip = create_service(&cluster, port);
    let files = tempfile::tempdir().expect("a directory");
    let signed = Signed::new(&["sallyport.sallyport-system.svc"]);
    let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    std::fs::write(&certificate, &signed.certificate).expect("written");
    std::fs::write(&key, &signed.key).expect("written");
    let tls = format!(
        "--tls-cert {} --tls-key {} --drain-delay 2",
        certificate.display(),
        key.display()
    );
    let start = || {
        Host::start(
            &cluster,
            &format!("--strict --policies target/policies {tls}"),
        )
    };
    let mut replicas = [start(), start()];
    let addresses = [replicas[0].address, replicas[1].address];
    let endpoints = Endpoints::listen(
        SocketAddr::new(ip.parse().expect("an address"), port),
        addresses,
    );
    let at = At::Service("sallyport-system", "sallyport", port);
    Registration {
        at,
        ca: &signed.ca,
        ..Registration::of(&replicas[0])
    }
    .apply(&cluster);

    let creator = Creator::start(&cluster);
    for (place, replica) in replicas.iter_mut().enumerate() {
        let next = start();
        endpoints.replace(place, next.address);
        std::mem::replace(replica, next).terminate();
    }
    let created = creator.stop();
    assert!(created > 100, "only {created} Services were created");
}

/// Creates the Service of `deploy/base` without a selector, and returns its cluster IP.
pub(crate) fn create_service(cluster: &Cluster, port: u16) -> String {
    cluster.namespace("sallyport-system");
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "sallyport", "namespace": "sallyport-system"},
        "spec": {"ports": [{"port": port}]},
    });
    cluster
        .kubectl_with(&["create", "-f", "-"], &service.to_string())
        .ok();
    let ip = [
        "get",
        "service",
        "sallyport",
        "--namespace=sallyport-system",
        "--output=jsonpath={.spec.clusterIP}",
    ];
    wait_for("a cluster IP", || cluster.kubectl(&ip).result())
}
