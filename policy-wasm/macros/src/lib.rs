//! The `policy!` macro of `sallyport-policy`.
//!
//! Role: turns a type that implements `Policy` into a component. A policy author has no path to the
//! contract's WIT package, so the macro carries its text and gives wit-bindgen one inline document:
//! the contract and, after it, the author's own world. Only policies use this crate, through
//! `sallyport-policy`.

mod world;

use proc_macro::{Literal, TokenStream, TokenTree};
use std::path::PathBuf;
use world::{CONTRACT, World};

/// The line that names the contract's package; it stands in one of its files.
const PACKAGE: &str = "package sallyport:policy@0.2.0;";

/// The world of a policy that has no settings.
const PLAIN_WORLD: &str = "package sallyport:plain-policy;\nworld plain-policy { include \
    sallyport:policy/base@0.2.0; }\n";

/// Makes a component of a type that implements `sallyport_policy::Policy`.
///
/// `policy!(MyPolicy, "policy.wit")` reads the policy's world from a file, relative to the crate's
/// `Cargo.toml`; its `settings` record becomes the type `Settings` beside the macro call.
/// `policy!(MyPolicy)` is for a policy without settings, whose `Policy::Settings` is `()`.
///
/// # The backstop
///
/// `policy!(MyPolicy, "policy.wit", backstop = "backstop.yaml")` embeds a file with the policy's
/// rules and defaults in CEL, as far as CEL can express them. `sallyport webhooks --backstop`
/// prints ValidatingAdmissionPolicies and MutatingAdmissionPolicies of them, which the API server
/// evaluates itself while no host answers. They must deny nothing that the policy allows, and set
/// nothing that it would not set. A file:
///
/// ```yaml
/// # Optional. A variable may use those before it.
/// variables:
///   - name: hasTeam
///     expression: "has(object.metadata.labels) && 'team' in object.metadata.labels"
///   - name: hadTeam
///     expression: "has(oldObject.metadata.labels) && 'team' in oldObject.metadata.labels"
/// validations:
///     # The rule of the policy that this stands for.
///   - rule: X01
///     # Optional: the settings, and the values of theirs, with which it applies.
///     when: {mode: [strict]}
///     expression: "variables.hasTeam || variables.mayKeep && !variables.hadTeam"
///     message: "metadata.labels: the label team is missing"
///     messageExpression: "'metadata.labels: set team to ' + variables.settings.teams.join(' or ')"
/// # What new Services get, where the policy is a mutating one. Either list may be left out.
/// defaults:
///   - rule: X02
///     # Optional, as above. A dot leads into a record.
///     when: {setOnCreate.team: [true]}
///     # Optional: the settings with which it does not apply.
///     unless: {teams: [[]]}
///     # JSON Patches; an empty list leaves the Service alone.
///     expression: >-
///       has(object.metadata.labels) && !variables.hasTeam
///       ? [JSONPatch{op: 'add', path: '/metadata/labels/team', value: 'none'}] : []
/// # Optional: what the policy denies or sets and these don't. A gap may have a `when`, too.
/// gaps:
///   - text: teams that do not exist
/// ```
///
/// An expression is true for what is allowed, and has the variables of a
/// [ValidatingAdmissionPolicy] (`object`, `oldObject`, `request`). The host adds two:
///
/// - `variables.settings`: the policy's settings with the names of the manifest. An option that is
///   not set is `null`; a mapping without entries is an empty list, for which `in`, `size` and
///   `exists` mean the same.
/// - `variables.mayKeep`: true for an update that may keep what `oldObject` has.
///
/// A default is evaluated when a Service is created, perhaps more than once, and before the host is
/// asked: it must leave alone what is set already.
///
/// `oldObject` is `null` on creation, and `has` must come before the use of an optional field: an
/// expression that fails denies nothing. Messages are `field: problem; fix`; the host writes the
/// policy's name before them.
///
/// [ValidatingAdmissionPolicy]:
/// https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
#[proc_macro]
pub fn policy(input: TokenStream) -> TokenStream {
    let expanded = Invocation::parse(input).and_then(|invocation| invocation.expand());
    expanded.unwrap_or_else(|message| {
        format!("::core::compile_error!({message:?});")
            .parse()
            .expect("a literal")
    })
}

/// The arguments of the macro.
struct Invocation {
    policy: String,
    world: Option<World>,
    backstop: Option<PathBuf>,
}

impl Invocation {
    fn parse(input: TokenStream) -> Result<Self, String> {
        use TokenTree::{Ident, Literal, Punct};
        const USAGE: &str = "expected policy!(TypeName), policy!(TypeName, \"policy.wit\") or \
            policy!(TypeName, \"policy.wit\", backstop = \"backstop.yaml\")";
        let tokens: Vec<_> = input.into_iter().collect();
        let (policy, rest) = match tokens.as_slice() {
            [Ident(policy), rest @ ..] => (policy.to_string(), rest),
            _ => return Err(USAGE.into()),
        };
        let (world, rest) = match rest {
            [Punct(comma), Literal(path), rest @ ..] if comma.as_char() == ',' => {
                (Some(World::read(file(path)?)?), rest)
            }
            rest => (None, rest),
        };
        let backstop = match rest {
            [] => None,
            [Punct(comma), Ident(name), Punct(equals), Literal(path)]
                if (comma.as_char(), equals.as_char()) == (',', '=')
                    && name.to_string() == "backstop" =>
            {
                Some(file(path)?)
            }
            _ => return Err(USAGE.into()),
        };
        Ok(Self {
            policy,
            world,
            backstop,
        })
    }

    fn expand(&self) -> Result<TokenStream, String> {
        let inline = format!("{}\n{}", self.world_text(), contract()?);
        let bindings = BINDINGS.replace("$inline", &literal(&inline));
        let glue = match &self.world {
            None => String::new(),
            Some(world) => SETTINGS
                .replace("$path", &literal(&world.path.display().to_string()))
                .replace("$wit", &byte_literal(&world.compact()))
                .replace("$length", &world.compact().len().to_string()),
        };
        let configured = if self.world.is_some() {
            CONFIGURED
        } else {
            UNCONFIGURED
        };
        let backstop = self.backstop.as_ref().map_or_else(String::new, |path| {
            BACKSTOP.replace("$path", &literal(&path.display().to_string()))
        });
        let text = format!("{bindings}{glue}{backstop}{COMPONENT}")
            .replace("$configured", configured)
            .replace("$policy", &self.policy);
        text.parse()
            .map_err(|error| format!("sallyport: the expansion does not parse: {error}"))
    }

    fn world_text(&self) -> &str {
        self.world.as_ref().map_or(PLAIN_WORLD, |world| &world.text)
    }
}

/// Returns the path of a file that the invocation names, which is relative to the crate's
/// `Cargo.toml`.
fn file(path: &Literal) -> Result<PathBuf, String> {
    let quoted = path.to_string();
    let relative = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or_else(|| format!("expected a path in quotes, found {quoted}"))?;
    let root = std::env::var("CARGO_MANIFEST_DIR")
        .map_err(|_| "CARGO_MANIFEST_DIR is not set".to_owned())?;
    Ok(PathBuf::from(root).join(relative))
}

/// Returns the contract as a nested package, which is how one WIT document holds several.
fn contract() -> Result<String, String> {
    let files = CONTRACT.concat();
    let (_, items) = files
        .split_once(PACKAGE)
        .ok_or_else(|| format!("the contract lacks the line `{PACKAGE}`"))?;
    Ok(format!("package sallyport:policy@0.2.0 {{\n{items}\n}}\n"))
}

fn literal(text: &str) -> String {
    Literal::string(text).to_string()
}

fn byte_literal(text: &str) -> String {
    Literal::byte_string(text.as_bytes()).to_string()
}

/// The types of the contract are those of the SDK; only what the policy's own world adds is
/// generated here.
const BINDINGS: &str = r#"
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all)]
pub mod policy_bindings {
    ::sallyport_policy::wit_bindgen::generate!({
        inline: $inline,
        path: [],
        runtime_path: "::sallyport_policy::wit_bindgen::rt",
        additional_derives: [PartialEq],
        generate_unused_types: true,
        with: {
            "sallyport:policy/service@0.2.0": ::sallyport_policy::service,
            "sallyport:policy/review@0.2.0": ::sallyport_policy::review,
            "sallyport:policy/verdict@0.2.0": ::sallyport_policy::verdict,
            "sallyport:policy/description@0.2.0": ::sallyport_policy::description,
            "sallyport:policy/log@0.2.0": ::sallyport_policy::bindings::sallyport::policy::log,
        },
    });
}
"#;

/// The component's exports: wit-bindgen's, which call these.
///
/// A policy with settings is configured before the host takes its snapshot; `configure` is called
/// once. The review is not dropped, because the instance and its memory end with the evaluation.
const COMPONENT: &str = r#"
#[doc(hidden)]
static CONFIGURED_POLICY: ::std::sync::OnceLock<$policy> = ::std::sync::OnceLock::new();

#[doc(hidden)]
struct PolicyComponent;

impl policy_bindings::exports::sallyport::policy::policy::Guest for PolicyComponent {
    fn describe() -> ::sallyport_policy::Description {
        ::sallyport_policy::log::report_panics();
        match CONFIGURED_POLICY.get() {
            ::core::option::Option::Some(policy) => {
                ::sallyport_policy::Policy::describe_configured(policy)
            }
            ::core::option::Option::None => <$policy as ::sallyport_policy::Policy>::describe(),
        }
    }

    fn validate(review: ::sallyport_policy::Review) -> ::sallyport_policy::Verdict {
        let review = ::core::mem::ManuallyDrop::new(review);
        ::sallyport_policy::Policy::validate($configured, &review)
    }

    fn mutate(review: ::sallyport_policy::Review) -> ::sallyport_policy::Verdict {
        let review = ::core::mem::ManuallyDrop::new(review);
        ::sallyport_policy::Policy::mutate($configured, &review).into()
    }
}

#[cfg(target_family = "wasm")]
#[allow(unsafe_code)]
mod policy_export {
    use super::{PolicyComponent, policy_bindings};
    policy_bindings::export!(PolicyComponent with_types_in policy_bindings);
}
"#;

/// A policy whose host never called `configure` must not guess. It traps without a message, since
/// its author can't do anything about that host.
const CONFIGURED: &str = "CONFIGURED_POLICY.get().unwrap_or_else(|| ::std::process::abort())";

const UNCONFIGURED: &str = "CONFIGURED_POLICY.get_or_init(|| { \
    ::sallyport_policy::log::report_panics(); \
    <$policy as ::sallyport_policy::Policy>::configure(()) \
        .unwrap_or_else(|_| ::core::panic!(\"configure fails without settings\")) })";

/// The file is read natively, too, so that a missing one is an error of `cargo test`.
const BACKSTOP: &str = r#"
#[doc(hidden)]
const BACKSTOP: &[u8] = include_bytes!($path);

#[cfg(target_family = "wasm")]
#[allow(unsafe_code)]
#[unsafe(link_section = "sallyport:backstop")]
static POLICY_BACKSTOP: [u8; BACKSTOP.len()] = *include_bytes!($path);
"#;

/// Settings in and out, and the author's WIT text in a custom section: doc comments do not survive
/// into a component, and the host shows them in the settings' schema.
const SETTINGS: &str = r#"
pub use policy_bindings::Settings;
pub use policy_bindings as settings;

#[doc(hidden)]
const _: &str = include_str!($path);

#[cfg(target_family = "wasm")]
#[allow(unsafe_code)]
#[unsafe(link_section = "sallyport:wit")]
static POLICY_WIT: [u8; $length] = *$wit;

impl policy_bindings::Guest for PolicyComponent {
    fn defaults() -> policy_bindings::Settings {
        ::sallyport_policy::log::report_panics();
        <$policy as ::sallyport_policy::Policy>::defaults()
    }

    fn configure(
        settings: policy_bindings::Settings,
    ) -> ::core::result::Result<(), ::std::vec::Vec<::sallyport_policy::SettingsError>> {
        ::sallyport_policy::log::report_panics();
        let policy = <$policy as ::sallyport_policy::Policy>::configure(settings)?;
        if CONFIGURED_POLICY.set(policy).is_err() {
            ::std::process::abort();
        }
        ::core::result::Result::Ok(())
    }
}
"#;
