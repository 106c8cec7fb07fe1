//! Sets `cfg(api_server)` where an API server is at hand, and `cfg(api_server_1_30)` where it is
//! 1.30 or newer. Sets `cfg(wasm_target)` where the toolchain can compile for
//! `wasm32-unknown-unknown`, as a policy's author needs it. Tests that need more than is there are
//! reported as ignored.
//!
//! With `SALLYPORT_REQUIRE_CLUSTER=1`, as in CI, tests that need any API server are never ignored.

#[path = "src/cluster/assets.rs"]
mod assets;

use std::process::Command;

/// The first minor version with ValidatingAdmissionPolicies in admissionregistration.k8s.io/v1.
const ADMISSION_POLICIES: u32 = 30;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(api_server, api_server_1_30, wasm_target)");
    println!("cargo::rerun-if-changed=src/cluster/assets.rs");
    for name in [
        "HOME",
        "KUBEBUILDER_ASSETS",
        "SALLYPORT_ASSETS",
        "SALLYPORT_REQUIRE_CLUSTER",
        "XDG_CACHE_HOME",
    ] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let assets = assets::Assets::locate();
    let minor = assets.as_ref().and_then(minor);
    let is_required = std::env::var("SALLYPORT_REQUIRE_CLUSTER").is_ok_and(|value| value == "1");
    if minor.is_some() || is_required {
        println!("cargo::rustc-cfg=api_server");
    } else {
        println!("cargo::warning=no kube-apiserver: the tests that need one are ignored");
    }
    if minor.is_some_and(|minor| minor >= ADMISSION_POLICIES) {
        println!("cargo::rustc-cfg=api_server_1_30");
    }
    if has_wasm_target() {
        println!("cargo::rustc-cfg=wasm_target");
    }
}

/// Returns true if the toolchain has the standard library of the target, as rustup installs it.
fn has_wasm_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args([
            "--print",
            "target-libdir",
            "--target",
            "wasm32-unknown-unknown",
        ])
        .output();
    let directory = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    directory.is_ok_and(|directory| std::path::Path::new(directory.trim()).is_dir())
}

/// Returns the minor version of the API server, such as 36 of `Kubernetes v1.36.2`.
fn minor(assets: &assets::Assets) -> Option<u32> {
    let output = Command::new(assets.program("kube-apiserver"))
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_once("v1.")?.1.split('.').next()?.parse().ok()
}
