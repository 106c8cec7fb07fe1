//! The author's WIT file: one world that includes the contract and adds the policy's settings.
//!
//! The file is parsed and checked here, before wit-bindgen sees it, so that an error names the file
//! and the line instead of a place in generated code.

use std::path::{Path, PathBuf};
use wit_parser::{
    Function, PackageId, Resolve, SourceMap, Type, TypeDefKind, TypeId, WorldId, WorldItem,
    WorldKey,
};

/// The files of package `sallyport:policy`. The first one names the package.
pub(crate) const CONTRACT: [&str; 7] = [
    include_str!("../../wit/service.wit"),
    include_str!("../../wit/review.wit"),
    include_str!("../../wit/verdict.wit"),
    include_str!("../../wit/description.wit"),
    include_str!("../../wit/policy.wit"),
    include_str!("../../wit/log.wit"),
    include_str!("../../wit/world.wit"),
];

/// Lines that every world has.
const INCLUDE: &str = "include sallyport:policy/base@0.2.0;";
const SETTINGS_ERROR: &str = "use sallyport:policy/verdict@0.2.0.{settings-error};";
const DEFAULTS: &str = "export defaults: func() -> settings;";
const CONFIGURE: &str =
    "export configure: func(settings: settings) -> result<_, list<settings-error>>;";

/// A file that declares the world of a policy with settings.
pub(crate) struct World {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl World {
    /// Reads and checks a file.
    pub(crate) fn read(path: PathBuf) -> Result<Self, String> {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        check(&path, &text)?;
        Ok(Self { path, text })
    }

    /// Returns the text that the component carries: only the parts from which the settings' schema
    /// is made, without indentation and blank lines. The rest is the same in every world.
    pub(crate) fn compact(&self) -> String {
        const SAME: [&str; 4] = [
            INCLUDE,
            SETTINGS_ERROR,
            "export defaults:",
            "export configure:",
        ];
        let says =
            |line: &&str| !line.is_empty() && !SAME.iter().any(|same| line.starts_with(same));
        let lines = self.text.lines().map(str::trim).filter(says);
        lines
            .map(|line| line.replacen("/// ", "///", 1))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Checks a file. An error has the line where the parser knows it.
fn check(path: &Path, text: &str) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let shown = path.display().to_string();
    push(&mut resolve, "sallyport:policy", &CONTRACT.concat())?;
    let package = push(&mut resolve, &shown, text)?;
    let mut worlds = resolve.packages[package].worlds.values();
    let (Some(world), None) = (worlds.next(), worlds.next()) else {
        return Err(format!(
            "{shown}: a policy's file declares exactly one world"
        ));
    };
    check_world(&resolve, *world).map_err(|problem| {
        let place = resolve.render_location(resolve.worlds[*world].span);
        format!("{problem}\n --> {place}")
    })
}

fn push(resolve: &mut Resolve, path: &str, text: &str) -> Result<PackageId, String> {
    let mut sources = SourceMap::default();
    sources.push_str(path, text);
    let group = sources
        .parse()
        .map_err(|(sources, error)| error.render(&sources))?;
    let pushed = resolve.push_group(group);
    pushed.map_err(|error| error.render(&resolve.source_map))
}

fn check_world(resolve: &Resolve, id: WorldId) -> Result<(), String> {
    let world = &resolve.worlds[id];
    let name = &world.name;
    let is_policy = |key: &&WorldKey| match key {
        WorldKey::Interface(interface) => {
            resolve.interfaces[*interface].name.as_deref() == Some("policy")
        }
        WorldKey::Name(_) => false,
    };
    if world.exports.keys().find(is_policy).is_none() {
        return Err(format!(
            "the world {name} does not include the contract; add `{INCLUDE}`"
        ));
    }
    let settings = match world.imports.get(&WorldKey::Name("settings".to_owned())) {
        Some(WorldItem::Type { id, .. })
            if matches!(resolve.types[*id].kind, TypeDefKind::Record(_)) =>
        {
            *id
        }
        _ => {
            return Err(format!(
                "the world {name} has no `record settings`; add one, or leave the file out: \
                 policy!(TypeName) makes a policy without settings"
            ));
        }
    };
    let function = |name: &str| match world.exports.get(&WorldKey::Name(name.to_owned())) {
        Some(WorldItem::Function(function)) => Some(function),
        _ => None,
    };
    for (export, expected, is_right) in [
        ("defaults", DEFAULTS, returns_settings as Check),
        ("configure", CONFIGURE, takes_settings as Check),
    ] {
        match function(export) {
            None => {
                return Err(format!(
                    "the world {name} does not export `{export}`; add `{expected}`"
                ));
            }
            Some(function) if !is_right(resolve, function, settings) => {
                return Err(format!(
                    "`{export}` of the world {name} has another type than the host calls; write \
                     `{expected}`"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

type Check = fn(&Resolve, &Function, TypeId) -> bool;

fn returns_settings(_: &Resolve, function: &Function, settings: TypeId) -> bool {
    function.params.is_empty() && function.result == Some(Type::Id(settings))
}

fn takes_settings(resolve: &Resolve, function: &Function, settings: TypeId) -> bool {
    let kind = |ty: Option<Type>| match ty {
        Some(Type::Id(id)) => Some(&resolve.types[id].kind),
        _ => None,
    };
    let [settings_parameter] = function.params.as_slice() else {
        return false;
    };
    let Some(TypeDefKind::Result(result)) = kind(function.result) else {
        return false;
    };
    let is_error = |ty: &Type| match ty {
        Type::Id(id) => resolve.types[*id].name.as_deref() == Some("settings-error"),
        _ => false,
    };
    settings_parameter.ty == Type::Id(settings)
        && result.ok.is_none()
        && matches!(kind(result.err), Some(TypeDefKind::List(error)) if is_error(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "package a:b;
world w {
  include sallyport:policy/base@0.2.0;
  use sallyport:policy/verdict@0.2.0.{settings-error};
  record settings { strict: bool }
  export defaults: func() -> settings;
  export configure: func(settings: settings) -> result<_, list<settings-error>>;
}
";

    fn checked(text: &str) -> Result<(), String> {
        check(Path::new("/a/policy.wit"), text)
    }

    #[test]
    fn a_world_with_settings_is_accepted() {
        assert_eq!(checked(GOOD), Ok(()));
    }

    #[test]
    fn the_text_in_a_component_names_the_types_that_the_settings_use() {
        let compact = |text: &str| {
            let world = World {
                path: PathBuf::new(),
                text: text.to_owned(),
            };
            world.compact()
        };
        assert_eq!(
            compact(GOOD),
            "package a:b;\nworld w {\nrecord settings { strict: bool }\n}"
        );
        let uses = "use sallyport:policy/verdict@0.2.0.{json, settings-error};";
        assert!(compact(&GOOD.replace(SETTINGS_ERROR, uses)).contains(uses));
    }

    #[test]
    fn an_error_names_the_line_of_the_file() {
        for (good, bad, told) in [
            ("strict: bool", "strict: boolean", "/a/policy.wit:5:29"),
            ("strict: bool", "strict; bool", "/a/policy.wit:5:27"),
            ("base@0.2.0", "base@0.9.0", "/a/policy.wit:3"),
            (
                "use sallyport:policy/verdict@0.2.0.{settings-error};",
                "",
                "/a/policy.wit:7",
            ),
        ] {
            let error = checked(&GOOD.replace(good, bad)).expect_err(bad);
            assert!(error.contains(told), "{bad}: {error}");
        }
    }

    #[test]
    fn what_a_world_lacks_is_said_with_the_line_to_add() {
        for (good, bad, told) in [
            (INCLUDE, "", "does not include the contract; add `include"),
            (
                DEFAULTS,
                "",
                "does not export `defaults`; add `export defaults: func()",
            ),
            (
                CONFIGURE,
                "",
                "does not export `configure`; add `export configure: func(settings",
            ),
            (
                "configure: func(settings: settings) -> result<_, list<settings-error>>",
                "configure: func(settings: settings)",
                "`configure` of the world w has another type than the host calls",
            ),
            (
                "func() -> settings",
                "func() -> bool",
                "`defaults` of the world w has another type",
            ),
            (
                "record settings { strict: bool }",
                "type settings = bool;",
                "no `record settings`",
            ),
            ("world w {", "world v {}\nworld w {", "exactly one world"),
        ] {
            let error = checked(&GOOD.replace(good, bad)).expect_err(bad);
            assert!(error.contains(told), "{bad}: {error}");
            assert!(error.contains("/a/policy.wit"), "{bad}: {error}");
        }
    }
}
