//! Tests through the public interfaces: engine with guests that misbehave, webhook over real TLS,
//! command line.
//!
//! They are one binary, since linking wasmtime takes longer than most of the tests. `make policies`
//! builds the components that they need.

mod about;
mod api_server;
mod audit;
mod backstop;
mod bad_input;
mod benching;
mod bounds;
mod cache;
mod cel;
mod certificates;
mod check;
mod check_manifests;
mod client;
mod cluster;
mod command_line;
mod connections;
mod contract;
mod contract_types;
mod crd;
mod custom_resources;
mod deletion;
mod deployment;
mod doctor;
mod drain;
mod drill;
mod expensive_components;
mod fairness;
mod fresh_instances;
mod generated;
mod host;
mod hostile_registry;
mod json_schema;
mod kubectl;
mod large;
mod large_bodies;
mod limits;
mod lint;
mod loading;
mod logging;
mod metrics;
mod new_policy;
mod object_server;
mod overload;
mod packaging;
mod parity;
mod program;
mod projects;
mod record;
mod registering;
mod registries;
mod reload;
mod replay;
mod schemas;
mod self_managed;
mod shadow;
mod suites_page;
mod testing;
mod tutorial;
mod webhook;
mod webhooks;
