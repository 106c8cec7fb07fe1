//! A policy's file as it is read, before any of it is compiled or run: imports, exports, the type
//! of the settings.
//!
//! Role: decides whether a file can be a policy, and says why not. Everything but the bodies of
//! functions is validated here, since types are not known otherwise; `bounds` refuses what would be
//! expensive to compile. Invariant: a [`PolicyComponent`] imports no function but the contract's
//! `log`, exports the contract's `policy`, and its settings are of a type that manifests can write.

mod bounds;
mod instantiation;
mod settings_type;

pub use instantiation::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLES};

use crate::contract;
use crate::settings::Record;
use bounds::Bounds;
use instantiation::Instantiation;
use sha2::{Digest, Sha256};
use wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator};

/// The reason why a file can't serve as a policy. Says what is wrong and what to do; the caller
/// says which file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// Not WebAssembly, truncated, or invalid.
    #[error("not a valid WebAssembly component: {0}")]
    Corrupt(String),
    /// More expensive to compile than any honest policy.
    #[error("not compiled: {0}")]
    Bound(String),
    /// A core module.
    #[error(
        "a core WebAssembly module, not a component; link it with wasm-component-ld (the SDK's \
         .cargo/config.toml does so)"
    )]
    CoreModule,
    /// It imports a function of WASI, as components of most toolchains do.
    #[error(
        "imports the function {0}, which no policy may; policies are pure functions and can call \
         only sallyport:policy/log. Build it without WASI: componentize-py --stub-wasi, \
         componentize-qjs --stub-wasi, jco componentize --disable all, tinygo \
         -target=wasm-unknown; for Rust and C the target wasm32-unknown-unknown"
    )]
    Wasi(String),
    /// It imports another function that policies may not call.
    #[error(
        "imports the function {0}, which no policy may; policies are pure functions and can call \
         only sallyport:policy/log. Remove the import from the policy's world"
    )]
    ForeignImport(String),
    /// Another version of the contract.
    #[error(
        "speaks sallyport:policy@{found}, but this host speaks {0}; rebuild it with the SDK of \
         {0}: write @{0} after `include sallyport:policy/base` and the other names in its WIT",
        contract::VERSION
    )]
    Version {
        /// The version that the component speaks.
        found: String,
    },
    /// It does not export the contract's `policy`.
    #[error(
        "exports no sallyport:policy/policy@{}; it exports {exports}. Build it against the world \
         sallyport:policy/base",
        contract::VERSION
    )]
    ForeignWorld {
        /// The names of its exports.
        exports: String,
    },
    /// `configure` or `defaults` has another form than the contract asks for.
    #[error("the world's {function} must be {expected}")]
    SettingsFunctions {
        /// The function's name.
        function: &'static str,
        /// Its form.
        expected: &'static str,
    },
}

impl ComponentError {
    /// Keeps the parser's first sentence, without the bytes that it compared.
    pub fn corrupt(error: &str) -> Self {
        let sentence = error.split(['\n', '=']).next().unwrap_or(error);
        Self::Corrupt(sentence.trim_end_matches(" - expected").trim().to_owned())
    }
}

/// A component whose types are those of a policy.
pub struct PolicyComponent<'a> {
    bytes: &'a [u8],
    wit: Option<String>,
    backstop: Option<String>,
    imports: Vec<String>,
    exports: Vec<String>,
    settings: Option<Record>,
}

/// The custom section that the SDK's macro writes.
const WIT_SECTION: &str = "sallyport:wit";

/// The custom section of the backstop (`policy::backstop`).
const BACKSTOP_SECTION: &str = "sallyport:backstop";
/// Bytes of the backstop's section. Those of the shipped policies have 4 KiB at most.
const MAX_BACKSTOP: usize = 64 << 10;

impl<'a> PolicyComponent<'a> {
    /// Reads a component.
    ///
    /// # Errors
    ///
    /// When it can't be a policy; the error says why.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ComponentError> {
        let corrupt =
            |error: wasmparser::BinaryReaderError| ComponentError::corrupt(&error.to_string());
        let mut component = Self {
            bytes,
            wit: None,
            backstop: None,
            imports: vec![],
            exports: vec![],
            settings: None,
        };
        let mut bounds = Bounds::new(bytes.len())?;
        let mut instantiation = Instantiation::default();
        let (mut validator, mut depth) = (Validator::new(), 0_usize);
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(corrupt)?;
            bounds.add(&payload, depth)?;
            instantiation.add(&payload)?;
            match &payload {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } if depth == 0 => {
                    return Err(ComponentError::CoreModule);
                }
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if section.name() == WIT_SECTION => {
                    component.wit = String::from_utf8(section.data().to_vec()).ok();
                }
                Payload::CustomSection(section) if section.name() == BACKSTOP_SECTION => {
                    component.backstop = Some(backstop(section.data())?);
                }
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    let names = imports.clone().into_iter().filter_map(Result::ok);
                    component
                        .imports
                        .extend(names.map(|import| import.name.name.to_owned()));
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    let names = exports.clone().into_iter().filter_map(Result::ok);
                    component
                        .exports
                        .extend(names.map(|export| export.name.name.to_owned()));
                }
                _ => {}
            }
            match validator.payload(&payload).map_err(corrupt)? {
                ValidPayload::Func(function, body) => bounds::check_function(&function, &body)?,
                ValidPayload::End(types) if depth == 0 => component.check(&types)?,
                _ => {}
            }
        }
        Ok(component)
    }

    fn check(&mut self, types: &Types) -> Result<(), ComponentError> {
        for name in &self.imports {
            if let Some(item) = types.component_item_for_import(name) {
                check_import(types.as_ref(), name, item)?;
            }
        }
        check_exports(&self.exports)?;
        self.settings = settings_type::read(types, &self.imports)?;
        Ok(())
    }

    /// Returns the file's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the author's WIT with its doc comments, where the SDK embedded it.
    pub fn wit(&self) -> Option<&str> {
        self.wit.as_deref()
    }

    /// Returns the author's rules in CEL, where the SDK embedded some.
    pub fn backstop(&self) -> Option<&str> {
        self.backstop.as_deref()
    }

    /// Names of the interfaces, types and functions that it imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Names of the interfaces, types and functions that it exports.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// Returns the type of its settings; `None` when it has none.
    pub fn settings(&self) -> Option<&Record> {
        self.settings.as_ref()
    }

    /// Returns the digest of a file as registries write it: `sha256:…`.
    pub fn digest(bytes: &[u8]) -> String {
        let hex = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        format!("sha256:{hex}")
    }
}

fn backstop(section: &[u8]) -> Result<String, ComponentError> {
    if section.len() > MAX_BACKSTOP {
        return Err(ComponentError::Bound(format!(
            "its section {BACKSTOP_SECTION} has {} bytes; at most {MAX_BACKSTOP} are read",
            section.len()
        )));
    }
    String::from_utf8(section.to_vec()).map_err(|_| {
        ComponentError::Corrupt(format!("its section {BACKSTOP_SECTION} is not UTF-8"))
    })
}

fn check_import(
    types: TypesRef<'_>,
    name: &str,
    item: &ComponentItem,
) -> Result<(), ComponentError> {
    match item.ty {
        ComponentEntityType::Instance(instance) => {
            check_version(name)?;
            let own = name == format!("{}/log@{}", contract::PACKAGE, contract::VERSION);
            let mut exports = types[instance].exports.iter();
            let function =
                exports.find(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
            match function {
                Some((function, _)) if !(own && function == "log") => {
                    let import = format!("{name}#{function}");
                    Err(if name.starts_with("wasi:") {
                        ComponentError::Wasi(import)
                    } else {
                        ComponentError::ForeignImport(import)
                    })
                }
                _ => Ok(()),
            }
        }
        ComponentEntityType::Type { .. } => Ok(()),
        _ => Err(ComponentError::ForeignImport(name.to_owned())),
    }
}

/// Checks that an interface of the contract's package has the contract's version.
fn check_version(interface: &str) -> Result<(), ComponentError> {
    let found = interface
        .strip_prefix(contract::PACKAGE)
        .and_then(|rest| rest.strip_prefix('/'));
    match found.and_then(|rest| rest.split_once('@')) {
        Some((_, version)) if version != contract::VERSION => Err(ComponentError::Version {
            found: version.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn check_exports(names: &[String]) -> Result<(), ComponentError> {
    let policy = format!("{}/policy@", contract::PACKAGE);
    if let Some(name) = names.iter().find(|name| name.starts_with(&policy)) {
        return check_version(name);
    }
    let exports = if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    };
    Err(ComponentError::ForeignWorld { exports })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_says_what_it_is() {
        assert!(matches!(
            PolicyComponent::read(b"hello, world"),
            Err(ComponentError::Corrupt(_))
        ));
        assert!(matches!(
            PolicyComponent::read(b""),
            Err(ComponentError::Corrupt(_))
        ));
        assert!(matches!(
            PolicyComponent::read(b"\0asm\x01\0\0\0").map(|_| ()),
            Err(ComponentError::CoreModule)
        ));
    }

    #[test]
    fn another_version_of_the_contract_is_named() {
        assert_eq!(check_version("sallyport:policy/policy@0.2.0"), Ok(()));
        let other = check_version("sallyport:policy/policy@0.1.0").expect_err("other version");
        assert!(
            other
                .to_string()
                .contains("sallyport:policy@0.1.0, but this host speaks 0.2.0; rebuild it"),
            "{other}"
        );
    }
}
