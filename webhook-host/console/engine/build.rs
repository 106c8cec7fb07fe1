//! Gives the component a stack of 1 MiB. Policies make do with 64 KiB (.cargo/config.toml), but
//! this crate parses nested YAML and JSON.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo:rustc-link-arg-cdylib=-zstack-size=1048576");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
