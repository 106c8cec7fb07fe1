//! Sallyport as webhook of a real kube-apiserver with a real etcd, asked by a real kubectl.
//!
//! `make assets` gets the three programs. Without them each test says that it is skipped; with
//! `SALLYPORT_REQUIRE_CLUSTER=1`, as in CI, it fails instead. What a version of Kubernetes lacks is
//! asked of the server, and named where a test leaves something out. Logs of all processes stay
//! below `target/tmp/cluster`.

mod admission;
mod backstop;
mod certificates;
mod creator;
mod custom_resources;
mod deletion;
mod installed;
mod outage;
mod registered;
mod replicas;
mod runbook;
mod uninstall;
mod webhook;
