//! The entry point of a process that compiles one component and exits.
//!
//! A constructor that runs before `main`, because it must work in every executable that links this
//! library, also in a test binary, whose `main` belongs to another crate. It does nothing unless
//! the process was started to compile.

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(windows, unsafe(link_section = ".CRT$XCU"))]
#[expect(
    unsafe_code,
    reason = "the only way into an executable whose `main` is another crate's"
)]
static CONSTRUCTOR: extern "C" fn() = compile;

extern "C" fn compile() {
    super::run();
}
