//! Sallyport as a webhook of a real kube-apiserver with a real etcd, driven by a real kubectl.
//!
//! `make assets` gets the three programs. Without them the tests are ignored (the build script
//! finds out); with `SALLYPORT_REQUIRE_CLUSTER=1`, as in CI, they fail instead. A test that leaves
//! something out names the feature that this version of Kubernetes lacks. Logs of all processes
//! stay below `target/tmp/cluster`.

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
