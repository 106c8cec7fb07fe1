//! The host's log: the only thing that a policy can do to the world.
//!
//! The host adds the policy's name and bounds count and length. Outside WebAssembly, where unit
//! tests run, lines go to standard error.

use crate::bindings::sallyport::policy::log::Level;

/// Writes a line for the policy's author.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a line for the policy's operator.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a warning.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes an error.
pub fn error(message: &str) {
    write(Level::Error, message);
}

#[cfg(target_family = "wasm")]
fn write(level: Level, message: &str) {
    crate::bindings::sallyport::policy::log::log(level, message);
}

#[cfg(not(target_family = "wasm"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
