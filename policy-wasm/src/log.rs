//! The host's log: the only function of the host that a policy can call.
//!
//! The host adds the policy's name and bounds count and length. Outside WebAssembly, where unit
//! tests run, lines go to standard error. In a component a panic writes an error with its message,
//! file and line ([`report_panics`]); nothing else would show them, since a component has no
//! standard error.

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

/// Makes panics write their message, file and line to the log. The macro `policy!` calls it before
/// any code of the policy runs; natively the standard library's own hook does the work.
///
/// The hook is part of the snapshot that the host takes after `configure`, so that an evaluation
/// does not set it again.
#[doc(hidden)]
pub fn report_panics() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| {
        if let (Some(place), Some(message)) = (panic.location(), panic.payload_as_str()) {
            error(&format!("panicked at {place}: {message}"));
        }
    }));
}

#[cfg(target_family = "wasm")]
fn write(level: Level, message: &str) {
    crate::bindings::sallyport::policy::log::log(level, message);
}

#[cfg(not(target_family = "wasm"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
