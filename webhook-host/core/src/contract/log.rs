//! The interface `log`: the one function that policies may call.

#[cfg(feature = "wasmtime")]
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(enum)
)]
#[repr(u8)]
pub enum Level {
    #[cfg_attr(feature = "wasmtime", component(name = "debug"))]
    Debug,
    #[cfg_attr(feature = "wasmtime", component(name = "info"))]
    Info,
    #[cfg_attr(feature = "wasmtime", component(name = "warn"))]
    Warn,
    #[cfg_attr(feature = "wasmtime", component(name = "error"))]
    Error,
}
