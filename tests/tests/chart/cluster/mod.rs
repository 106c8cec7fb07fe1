//! Releases on a real API server. It has no controllers and no kubelet, so `node` plays them.

mod failures;
mod families;
mod lifecycle;
mod node;
mod registries;
mod release;
mod server_side;
