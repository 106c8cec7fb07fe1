//! Is this file a policy? A component's imports, exports and bounds, read before any of it is
//! compiled or run.
//!
//! Everything but the bodies of functions is validated here, since the types of imports are not
//! known otherwise. The compiler validates the whole component again.

use super::bounds::{self, Bounds};
use crate::contract;
use sha2::{Digest, Sha256};
use wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator};
use wasmtime::component::types::{self, ComponentItem as Compiled};
use wasmtime::component::{Component, Type};

/// Why a file can't serve as a policy. Says what is wrong and what to do; the caller says which
/// file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadProblem {
    /// Not WebAssembly, truncated, or invalid.
    #[error("not a valid WebAssembly component: {0}")]
    Corrupt(String),
    /// Dearer to compile than any honest policy.
    #[error("not compiled: {0}")]
    Bound(String),
    /// A core module.
    #[error(
        "a core WebAssembly module, not a component; link it with wasm-component-ld (the SDK's \
         .cargo/config.toml does so)"
    )]
    CoreModule,
    /// It wants to reach something.
    #[error(
        "imports the function {0}, which no policy may; policies are pure functions and can call \
         only sallyport:policy/log (disable WASI and language-runtime features when building)"
    )]
    ForeignImport(String),
    /// Another version of the contract.
    #[error(
        "speaks sallyport:policy@{found}, but this host speaks {}; rebuild it with a matching SDK",
        contract::VERSION
    )]
    Version {
        /// What the component speaks.
        found: String,
    },
    /// No policy at all.
    #[error(
        "exports no sallyport:policy/policy@{}; it exports {exports}. Build it against the world \
         sallyport:policy/base",
        contract::VERSION
    )]
    ForeignWorld {
        /// What it exports.
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
    /// Compiling it was given up.
    #[error("{0}")]
    TooDear(String),
    /// It can't be compiled now, or guest code failed at load.
    #[error("{0}")]
    Guest(String),
    /// Several, as the process that compiles tells them.
    #[error("{}", .0.join("; "))]
    Several(Vec<String>),
}

impl LoadProblem {
    /// The parser's own sentence, without the bytes that it compared and the lines that follow.
    pub(super) fn corrupt(error: &str) -> Self {
        let sentence = error.split(['\n', '=']).next().unwrap_or(error);
        Self::Corrupt(sentence.trim_end_matches(" - expected").trim().to_owned())
    }
}

/// Bytes of one problem: names in a component and a guest's own words may be a mebibyte.
const MAX_PROBLEM: usize = 2 << 10;

/// Cuts a problem off that is too long to be logged or shown.
pub(crate) fn shortened(mut problem: String) -> String {
    if problem.len() > MAX_PROBLEM {
        problem.truncate(problem.floor_char_boundary(MAX_PROBLEM));
        problem.push('…');
    }
    problem
}

/// A file that was read but not run.
pub(crate) struct Candidate<'a> {
    pub(super) bytes: &'a [u8],
    /// The author's WIT, which the SDK embeds for its doc comments.
    pub(crate) wit: Option<String>,
    /// The author's rules in CEL, which the SDK embeds.
    pub(crate) backstop: Option<String>,
    /// Names of what it imports.
    pub(crate) imports: Vec<String>,
    /// Names of what it exports.
    pub(crate) exports: Vec<String>,
}

/// The custom section that the SDK's macro writes.
const WIT_SECTION: &str = "sallyport:wit";

/// The custom section of the backstop (`policy::backstop`).
const BACKSTOP_SECTION: &str = "sallyport:backstop";
/// Bytes of it. Those of the shipped policies have 4 KiB at most.
const MAX_BACKSTOP: usize = 64 << 10;

impl<'a> Candidate<'a> {
    /// Reads a component: bounds, imports and exports.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, LoadProblem> {
        let corrupt =
            |error: wasmparser::BinaryReaderError| LoadProblem::corrupt(&error.to_string());
        let mut candidate = Self {
            bytes,
            wit: None,
            backstop: None,
            imports: vec![],
            exports: vec![],
        };
        let (mut bounds, mut validator, mut depth) =
            (Bounds::new(bytes.len())?, Validator::new(), 0_usize);
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(corrupt)?;
            bounds.add(&payload, depth)?;
            match &payload {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } if depth == 0 => {
                    return Err(LoadProblem::CoreModule);
                }
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if section.name() == WIT_SECTION => {
                    candidate.wit = String::from_utf8(section.data().to_vec()).ok();
                }
                Payload::CustomSection(section) if section.name() == BACKSTOP_SECTION => {
                    candidate.backstop = Some(backstop(section.data())?);
                }
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    let names = imports.clone().into_iter().filter_map(Result::ok);
                    candidate
                        .imports
                        .extend(names.map(|import| import.name.name.to_owned()));
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    let names = exports.clone().into_iter().filter_map(Result::ok);
                    candidate
                        .exports
                        .extend(names.map(|export| export.name.name.to_owned()));
                }
                _ => {}
            }
            match validator.payload(&payload).map_err(corrupt)? {
                ValidPayload::Func(function, body) => bounds::check_function(&function, &body)?,
                ValidPayload::End(types) if depth == 0 => candidate.check(&types)?,
                _ => {}
            }
        }
        Ok(candidate)
    }

    fn check(&self, types: &Types) -> Result<(), LoadProblem> {
        for name in &self.imports {
            if let Some(item) = types.component_item_for_import(name) {
                check_import(types.as_ref(), name, item)?;
            }
        }
        check_exports(&self.exports)
    }

    /// Whether the policy's world has settings.
    pub(crate) fn has_settings(&self) -> bool {
        self.exports.iter().any(|name| name == "configure")
    }

    /// The component's digest, as registries write it.
    pub(crate) fn digest(bytes: &[u8]) -> String {
        let hex = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        format!("sha256:{hex}")
    }
}

fn backstop(section: &[u8]) -> Result<String, LoadProblem> {
    if section.len() > MAX_BACKSTOP {
        return Err(LoadProblem::Bound(format!(
            "its section {BACKSTOP_SECTION} has {} bytes; at most {MAX_BACKSTOP} are read",
            section.len()
        )));
    }
    String::from_utf8(section.to_vec())
        .map_err(|_| LoadProblem::Corrupt(format!("its section {BACKSTOP_SECTION} is not UTF-8")))
}

/// The type of a policy's settings, read from the component.
#[derive(Clone)]
pub(crate) struct Configure {
    /// The record.
    pub(crate) settings: Type,
}

fn check_import(types: TypesRef<'_>, name: &str, item: &ComponentItem) -> Result<(), LoadProblem> {
    match item.ty {
        ComponentEntityType::Instance(instance) => {
            check_version(name)?;
            let own = name == format!("{}/log@{}", contract::PACKAGE, contract::VERSION);
            let mut exports = types[instance].exports.iter();
            let function =
                exports.find(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
            match function {
                Some((function, _)) if !(own && function == "log") => {
                    Err(LoadProblem::ForeignImport(format!("{name}#{function}")))
                }
                _ => Ok(()),
            }
        }
        ComponentEntityType::Type { .. } => Ok(()),
        _ => Err(LoadProblem::ForeignImport(name.to_owned())),
    }
}

/// An interface of our own package must be of our version.
fn check_version(interface: &str) -> Result<(), LoadProblem> {
    let found = interface
        .strip_prefix(contract::PACKAGE)
        .and_then(|rest| rest.strip_prefix('/'));
    match found.and_then(|rest| rest.split_once('@')) {
        Some((_, version)) if version != contract::VERSION => Err(LoadProblem::Version {
            found: version.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn check_exports(names: &[String]) -> Result<(), LoadProblem> {
    let policy = format!("{}/policy@", contract::PACKAGE);
    if let Some(name) = names.iter().find(|name| name.starts_with(&policy)) {
        return check_version(name);
    }
    let exports = if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    };
    Err(LoadProblem::ForeignWorld { exports })
}

/// The type of a compiled component's settings; `None` when it has none.
pub(super) fn settings_type(component: &Component) -> Result<Option<Configure>, LoadProblem> {
    let (ty, engine) = (component.component_type(), component.engine());
    let function = |name| match ty.get_export(engine, name).map(|item| item.ty) {
        Some(Compiled::ComponentFunc(function)) => Some(function),
        _ => None,
    };
    let (configure, defaults) = match (function("configure"), function("defaults")) {
        (None, None) => return Ok(None),
        (Some(configure), Some(defaults)) => (configure, defaults),
        (Some(_), None) => {
            return Err(LoadProblem::SettingsFunctions {
                function: "defaults",
                expected: "func() -> settings",
            });
        }
        (None, Some(_)) => return Err(configure_form()),
    };
    let mut params = configure.params();
    let (Some((_, settings)), None) = (params.next(), params.next()) else {
        return Err(configure_form());
    };
    drop(params);
    if !matches!(settings, Type::Record(_)) || !is_settings_result(&configure) {
        return Err(configure_form());
    }
    let mut results = defaults.results();
    if results.next().as_ref() != Some(&settings) || defaults.params().len() != 0 {
        return Err(LoadProblem::SettingsFunctions {
            function: "defaults",
            expected: "func() -> settings",
        });
    }
    drop(results);
    if count_types(&settings, MAX_SETTINGS_TYPES) > MAX_SETTINGS_TYPES {
        return Err(LoadProblem::Bound(format!(
            "its settings consist of more than {MAX_SETTINGS_TYPES} fields and types, counted \
             where they are used; use a \
             list or fewer fields"
        )));
    }
    Ok(Some(Configure { settings }))
}

/// Fields and types of all settings, each counted as often as it is used: a type of a few bytes
/// that uses another one twice, and so on, has a million. The schema and the settings themselves
/// have that many parts in memory.
const MAX_SETTINGS_TYPES: usize = 10_000;

/// How many types one consists of, itself included; counting ends beyond `most`.
fn count_types(ty: &Type, most: usize) -> usize {
    let mut count = 1;
    let mut add = |part: Option<Type>| {
        if let Some(part) = part.filter(|_| count <= most) {
            count += count_types(&part, most - count);
        }
    };
    match ty {
        Type::Record(record) => record.fields().for_each(|field| add(Some(field.ty))),
        Type::Tuple(tuple) => tuple.types().for_each(|part| add(Some(part))),
        Type::Variant(variant) => variant.cases().for_each(|case| add(case.ty)),
        Type::Enum(cases) => count += cases.names().len(),
        Type::Flags(flags) => count += flags.names().len(),
        Type::List(list) => add(Some(list.ty())),
        Type::Option(option) => add(Some(option.ty())),
        Type::Result(result) => [result.ok(), result.err()].into_iter().for_each(add),
        _ => {}
    }
    count
}

/// `result<_, list<settings-error>>`; a settings-error is a record of two strings.
fn is_settings_result(configure: &types::ComponentFunc) -> bool {
    let Some(Type::Result(result)) = configure.results().next() else {
        return false;
    };
    let Some(Type::List(errors)) = result.err() else {
        return false;
    };
    let Type::Record(error) = errors.ty() else {
        return false;
    };
    result.ok().is_none()
        && error.fields().all(|field| field.ty == Type::String)
        && error.fields().len() == 2
}

fn configure_form() -> LoadProblem {
    LoadProblem::SettingsFunctions {
        function: "configure",
        expected: "func(settings: settings) -> result<_, list<settings-error>> with a record \
            `settings`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_says_what_it_is() {
        assert!(matches!(
            Candidate::read(b"hello, world"),
            Err(LoadProblem::Corrupt(_))
        ));
        assert!(matches!(Candidate::read(b""), Err(LoadProblem::Corrupt(_))));
        assert!(matches!(
            Candidate::read(b"\0asm\x01\0\0\0").map(|_| ()),
            Err(LoadProblem::CoreModule)
        ));
    }

    #[test]
    fn another_version_of_the_contract_is_named() {
        assert_eq!(check_version("sallyport:policy/policy@0.1.0"), Ok(()));
        let other = check_version("sallyport:policy/policy@0.2.0").expect_err("other version");
        assert!(
            other
                .to_string()
                .contains("sallyport:policy@0.2.0, but this host speaks 0.1.0"),
            "{other}"
        );
    }

    /// A pair of pairs of pairs and so on, each part of which is the same type.
    fn pairs(levels: u8) -> Type {
        // tuple<u8, u8>, then tuple<type before, type before>, and a function that takes the last
        // one.
        let mut types = vec![levels + 2, 0x6f, 2, 0x7d, 0x7d];
        types.extend((0..levels).flat_map(|before| [0x6f, 2, before, before]));
        types.extend([0x40, 1, 1, b'x', levels, 1, 0]);
        let import = [1, 0, 1, b'f', 1, levels + 1];
        let section = |id, content: &[u8]| {
            [&[id, u8::try_from(content.len()).expect("short")], content].concat()
        };
        let component = [
            b"\0asm\x0d\0\x01\0",
            &*section(7, &types),
            &section(10, &import),
        ];
        let engine = wasmtime::Engine::default();
        let component = Component::from_binary(&engine, &component.concat()).expect("a component");
        let ty = component.component_type();
        let (_, import) = ty.imports(&engine).next().expect("one import");
        let Compiled::ComponentFunc(function) = import.ty else {
            panic!("a function")
        };
        let (_, ty) = function.params().next().expect("one parameter");
        ty
    }

    #[test]
    fn parts_of_settings_are_counted_where_they_are_used_and_no_further_than_needed() {
        assert_eq!(count_types(&pairs(0), MAX_SETTINGS_TYPES), 3);
        assert_eq!(count_types(&pairs(5), MAX_SETTINGS_TYPES), 127);
        let counted = count_types(&pairs(17), MAX_SETTINGS_TYPES);
        assert!(
            (MAX_SETTINGS_TYPES + 1..MAX_SETTINGS_TYPES + 100).contains(&counted),
            "{counted}"
        );
    }
}
