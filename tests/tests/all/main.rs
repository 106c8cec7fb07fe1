//! Tests through the public doors: engine with guests that misbehave, webhook over real TLS, command line.
//!
//! One binary, since linking wasmtime takes longer than most of the tests. What it needs is built by `make policies`.

mod api_server;
mod bad_input;
mod cache;
mod client;
mod cluster;
mod command_line;
mod connections;
mod custom_resources;
mod drain;
mod host;
mod limits;
mod loading;
mod metrics;
mod new_policy;
mod overload;
mod parity;
mod program;
mod reload;
mod webhook;
