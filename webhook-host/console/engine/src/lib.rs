//! sallyport-core as a WebAssembly component, for the playground in a browser.
//!
//! Role: exports what the page asks (`wit/console.wit`) and implements core's seam,
//! [`sallyport_core::policy::Evaluate`], by the import `components`, behind which JavaScript runs
//! policies that jco transpiled. This crate is a component too, and jco transpiles it like a
//! policy: so a review crosses to JavaScript as the contract's own records, jco lifts and lowers
//! them, and no field can be forgotten. wasm-bindgen would need that conversion by hand, and a
//! command line tool of exactly its own version.
//!
//! Invariants: no clock, no file and no network; what callers pass in is all there is. Policies and
//! components that were loaded are kept, within bounds, because an answer must follow a keystroke.

#[expect(
    unsafe_code,
    reason = "generated; wit/console.wit has the documentation"
)]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../../policy-wasm/wit", "wit"],
        world: "sallyport:console/engine",
        with: {
            "sallyport:policy/service@0.2.0": sallyport_core::contract::service,
            "sallyport:policy/review@0.2.0": sallyport_core::contract::review,
            "sallyport:policy/verdict@0.2.0": sallyport_core::contract::verdict,
        },
    });
    use super::Engine;
    export!(Engine);
}

pub mod answers;
mod check;
mod description;
mod evaluator;
pub mod kubectl;
mod messages;
mod recorded;
mod settings;
#[cfg(feature = "typescript")]
pub mod typescript;

use bindings::Guest;

struct Engine;

impl Guest for Engine {
    fn inspect(file: String) -> Result<String, String> {
        evaluator::inspect(&file)
    }

    fn check(request: String) -> Result<String, String> {
        check::run(&request)
    }

    fn answers(request: String) -> Result<String, String> {
        answers::run(&request)
    }

    fn recorded(line: String) -> Result<String, String> {
        recorded::read(&line)
    }
}
