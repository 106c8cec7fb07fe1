//! Two replicas behind one Service reference, which is called over HTTP/1.1.
//!
//! Where a cluster has kube-proxy, the test has `Endpoints`: it listens on the Service's cluster IP, a loopback address, and hands
//! each connection to the first replica that accepts it.

use crate::webhook::{At, Host, Registration};
use sallyport_tests::cluster::{Cluster, free_port};
use sallyport_tests::wait_for;
use serde_json::json;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Which replica gets the next connection first.
static TURN: AtomicUsize = AtomicUsize::new(0);

/// Forwards for as long as the test binary lives.
fn forward(listen: SocketAddr, replicas: [SocketAddr; 2]) {
    let listener = TcpListener::bind(listen).unwrap_or_else(|error| panic!("{listen}: {error}"));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let first = TURN.fetch_add(1, Ordering::Relaxed) % replicas.len();
            let order = [replicas[first], replicas[1 - first]];
            if let Some(replica) = order.iter().find_map(|replica| TcpStream::connect(replica).ok()) {
                join(&client, &replica).expect("both are open");
            }
        }
    });
}

/// Copies both ways; one end's end is the other's.
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
fn services_are_written_while_one_of_two_replicas_is_killed() {
    let Some(cluster) = Cluster::new("replicas") else { return };
    let port = free_port();
    let ip = create_service(&cluster, port);
    let (one, two) = (Host::shipped(&cluster), Host::shipped(&cluster));
    forward(SocketAddr::new(ip.parse().expect("an address"), port), [one.address, two.address]);
    let ca = [one.ca.as_str(), &two.ca].concat();
    let at = At::Service("sallyport-system", "sallyport", port);
    let policies = &two.policies;
    Registration { policies, name: "sallyport", at, ca: &ca, namespaces: &[], failure_policy: "Fail" }.apply(&cluster);

    let mut one = Some(one);
    for count in 0..20 {
        if count == 10 {
            drop(one.take());
        }
        let written = cluster.kubectl(&["create", "service", "clusterip", &format!("web-{count}"), "--tcp=80"]);
        assert!(written.done, "the Service after {count}: {}", written.err);
    }
    let denied = cluster.kubectl(&["create", "-f", "docs/examples/load-balancer.yaml"]).error();
    assert!(denied.contains("[loadbalancer-cloud-only]"), "{denied}");
}

/// The Service of `deploy/base`, without a selector; answers its cluster IP.
fn create_service(cluster: &Cluster, port: u16) -> String {
    cluster.namespace("sallyport-system");
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "sallyport", "namespace": "sallyport-system"},
        "spec": {"ports": [{"port": port}]},
    });
    cluster.kubectl_with(&["create", "-f", "-"], &service.to_string()).ok();
    let ip = ["get", "service", "sallyport", "--namespace=sallyport-system", "--output=jsonpath={.spec.clusterIP}"];
    wait_for("a cluster IP", || cluster.kubectl(&ip).result())
}
