//! The start of a process that compiles one component and exits; see `engine::child`.
//!
//! It must work in every executable that links this library, also in a test binary, whose `main` is
//! not ours. So a constructor runs before `main`, and does nothing unless the process was started
//! for this.

use super::{LoadError, settings};
use crate::engine::{Configure, SettingsRules, compile_if_asked};
use serde_json::{Map, Value};
use wasmtime::component::Val;

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
#[expect(
    unsafe_code,
    reason = "the only way into an executable whose `main` is another crate's"
)]
static CONSTRUCTOR: extern "C" fn() = compile;

extern "C" fn compile() {
    compile_if_asked(SettingsRules { merge, refused });
}

fn merge(
    configure: &Configure,
    defaults: &Val,
    written: &Map<String, Value>,
) -> Result<Val, Vec<String>> {
    let merged = settings::merge(&configure.settings, defaults, written);
    merged.map_err(|error| LoadError::from(error).problems)
}

fn refused(errors: Vec<(String, String)>) -> Vec<String> {
    LoadError::from(errors).problems
}
