//! The start of a process that compiles one component and exits.
//!
//! It must work in every executable that links this library, also in a test binary, whose `main` is
//! not ours. So a constructor runs before `main`, and does nothing unless the process was started
//! for this.

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
#[expect(
    unsafe_code,
    reason = "the only way into an executable whose `main` is another crate's"
)]
static CONSTRUCTOR: extern "C" fn() = compile;

extern "C" fn compile() {
    super::run();
}
