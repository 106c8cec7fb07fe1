//! Sallyport as a webhook of a real kube-apiserver with a real etcd, driven by a real kubectl.
//!
//! `make assets` gets the three programs. Without them the tests are ignored (the build script
//! finds out); with `SALLYPORT_REQUIRE_CLUSTER=1`, as in CI, they fail instead. Features that a
//! version of Kubernetes lacks are named where a test leaves something out. Logs of all processes
//! stay below `target/tmp/cluster`.

mod admission;
mod audit;
mod audit_reports;
mod backstop;
mod certificates;
mod console;
mod creator;
mod custom_resources;
mod defaults;
mod deletion;
mod deletions;
mod etcd_full;
mod events;
mod exposed;
mod installed;
mod outage;
mod refusals;
mod registered;
mod replicas;
mod runbook;
mod static_manifests;
mod traces;
mod tutorial;
mod uninstall;
mod upgrade;
mod vap;
mod webhook;
