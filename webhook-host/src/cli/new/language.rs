//! The languages that `sallyport new` knows, and the files of a project in each.

use clap::ValueEnum;
use sallyport_core::contract;
use sallyport_core::manifest::ServicePolicy;
use sallyport_core::suite::Suite;

include!(concat!(env!("OUT_DIR"), "/new.rs"));

/// The release of wit-bindgen-cli that made the C bindings among the templates.
const WIT_BINDGEN: &str = "0.63.0";

/// A language of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// The SDK's own: the smallest and quickest components
    Rust,
    /// On QuickJS, with the contract's types
    Typescript,
    /// On QuickJS
    Javascript,
    /// On CPython
    Python,
    /// With clang, without a C library
    C,
    /// Expressions in the manifest of the shipped policy `expressions`; nothing is built
    Cel,
}

/// Limits of the manifest: an interpreter needs more than the defaults.
struct Limits {
    deadline: &'static str,
    memory: &'static str,
}

impl Language {
    /// Returns the folder with its templates.
    fn folder(self) -> &'static str {
        match self {
            Self::Rust => "rust/",
            Self::Typescript => "typescript/",
            Self::Javascript => "javascript/",
            Self::Python => "python/",
            Self::C => "c/",
            Self::Cel => "cel/",
        }
    }

    fn limits(self) -> Limits {
        let (deadline, memory) = match self {
            Self::Rust | Self::C | Self::Cel => ("50ms", "16Mi"),
            Self::Typescript | Self::Javascript => ("500ms", "32Mi"),
            Self::Python => ("1s", "64Mi"),
        };
        Limits { deadline, memory }
    }

    /// Returns path and text of each file, with the placeholders filled. `sdk` is the dependency on
    /// `sallyport-policy` as Cargo.toml writes it; `None`: the project carries the SDK.
    pub(super) fn files(self, name: &str, sdk: Option<&str>) -> Vec<(String, String)> {
        let mut files = vec![];
        for (path, template) in TEMPLATES {
            if let Some(path) = self.place(path) {
                files.push((path, self.fill(template, name, sdk)));
            }
        }
        for (name, schema) in [
            ("suite", Suite::schema()),
            ("service-policy", ServicePolicy::schema()),
        ] {
            files.push((format!("schemas/{name}.json"), format!("{schema:#}\n")));
        }
        if let (Self::Rust, None) = (self, sdk) {
            files.push(("sdk/Cargo.toml".into(), SDK_MANIFEST.into()));
            files.extend(placed(SDK, "sdk/policy-wasm"));
        }
        if !matches!(self, Self::Rust | Self::Cel) {
            files.extend(placed(WIT, "wit/deps/sallyport-policy"));
        }
        files
    }

    /// Returns the path of a template in a project; `None` if it is for others.
    fn place(self, template: &str) -> Option<String> {
        let common = template
            .strip_prefix("common/")
            .filter(|_| self != Self::Cel);
        let path = match (common, template.strip_prefix("wit/")) {
            (Some(path), _) => path.to_owned(),
            (None, Some(_)) if self == Self::Cel => return None,
            // The SDK's macro takes it from the crate's folder, and brings the contract itself.
            (None, Some(path)) if self == Self::Rust => path.to_owned(),
            (None, Some(path)) => format!("wit/{path}"),
            (None, None) => self.own(template)?.to_owned(),
        };
        // Under its own name a file would be one of this crate or of this repository.
        Some(
            path.strip_suffix(".txt")
                .map_or(path.clone(), str::to_owned),
        )
    }

    /// Returns the path of a template that is this language's own, or one of all that Node.js runs.
    fn own(self, template: &str) -> Option<&str> {
        let node = template
            .strip_prefix("node/")
            .filter(|_| matches!(self, Self::Typescript | Self::Javascript));
        node.or_else(|| template.strip_prefix(self.folder()))
    }

    fn fill(self, template: &str, name: &str, sdk: Option<&str>) -> String {
        let Limits { deadline, memory } = self.limits();
        template
            .replace("{{name}}", name)
            .replace("{{file}}", &name.replace('-', "_"))
            .replace("{{type}}", &type_name(name))
            .replace("{{sdk}}", sdk.unwrap_or("{ path = \"sdk/policy-wasm\" }"))
            .replace("{{contract}}", contract::VERSION)
            .replace("{{wit-bindgen}}", WIT_BINDGEN)
            .replace("{{deadline}}", deadline)
            .replace("{{memory}}", memory)
    }
}

fn placed(
    files: &'static [(&'static str, &'static str)],
    folder: &str,
) -> impl Iterator<Item = (String, String)> {
    files
        .iter()
        .map(move |(path, text)| (format!("{folder}/{path}"), (*text).to_owned()))
}

/// `required-labels` is `RequiredLabels`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    name.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds `{{name}}`; Python writes `{{{` for a brace before a value.
    fn has_placeholder(text: &str) -> bool {
        text.match_indices("{{")
            .any(|(at, _)| text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase()))
    }

    #[test]
    fn no_placeholder_is_left_in_any_language() {
        for language in Language::value_variants() {
            let files = language.files("required-labels", None);
            for (path, text) in &files {
                let own = !path.starts_with("sdk/") && !path.starts_with("wit/deps/");
                assert!(!(own && has_placeholder(text)), "{language:?}: {path}");
                let template = path.ends_with(".txt") && path != "requirements.txt";
                assert!(!template, "{language:?}: {path}");
            }
            for file in [
                "Makefile",
                "README.md",
                "policy.yaml",
                "suite.yaml",
                ".gitignore",
            ] {
                let found = files.iter().filter(|(path, _)| path == file).count();
                assert_eq!(found, 1, "{language:?}: {file}");
            }
        }
    }

    #[test]
    fn each_project_carries_the_contract() {
        for (language, file) in [
            (Language::Rust, "sdk/policy-wasm/wit/world.wit"),
            (Language::C, "wit/deps/sallyport-policy/world.wit"),
            (Language::Python, "wit/deps/sallyport-policy/world.wit"),
            (Language::Javascript, "wit/deps/sallyport-policy/world.wit"),
            (Language::Typescript, "wit/deps/sallyport-policy/world.wit"),
        ] {
            let files = language.files("a", None);
            assert!(files.iter().any(|(path, _)| path == file), "{language:?}");
        }
    }
}
