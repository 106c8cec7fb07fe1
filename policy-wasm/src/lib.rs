//! Write a Sallyport policy: typed Services in, a verdict out, one small WebAssembly component.
#![doc = "TODO"]

#[doc(hidden)]
#[allow(missing_docs, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "base",
        generate_unused_types: true,
        additional_derives: [PartialEq],
        additional_type_attributes: {
            "sallyport:policy/service@0.1.0/service": [#[derive(Default)]],
            "sallyport:policy/service@0.1.0/metadata": [#[derive(Default)]],
            "sallyport:policy/service@0.1.0/spec": [#[derive(Default)]],
            "sallyport:policy/service@0.1.0/status": [#[derive(Default)]],
            "sallyport:policy/verdict@0.1.0/verdict": [#[derive(Default)]],
            "sallyport:policy/verdict@0.1.0/mutation": [#[derive(Default)]],
        },
    });
}
pub use bindings::sallyport::policy::{description, review, service, verdict};
pub use description::Description;
pub use review::Review;
pub use sallyport_policy_macros::policy;
pub use verdict::{Mutation, SettingsError, Verdict};
pub use wit_bindgen;

/// P
pub trait Policy: Sized + Send + Sync + 'static {
    /// S
    type Settings;
    /// D
    fn describe() -> Description;
    /// D
    fn defaults() -> Self::Settings;
    /// D
    fn configure(settings: Self::Settings) -> Result<Self, Vec<SettingsError>>;
    /// D
    fn validate(&self, review: &Review) -> Verdict;
    /// D
    fn mutate(&self, _review: &Review) -> Mutation {
        Mutation::default()
    }
}
/// The default allocator of the target is larger than many a policy.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();
