//! The contract as other languages see it, among the templates of `sallyport new`: TypeScript's
//! types are made from the WIT here (`WRITE_TYPES=1` writes the file), those of Python and C by
//! their toolchains, in `scripts/twins.sh`, which leaves a digest.

use crate::host::root;
use sallyport_core::component::PolicyComponent;
use std::fmt::Write as _;
use wit_parser::{
    Docs, Function, Handle, Interface, Resolve, SourceMap, Type, TypeDef, TypeDefKind, TypeOwner,
};

const FILE: &str = "webhook-host/src/cli/new/typescript/types/sallyport-policy.d.ts";

#[test]
fn the_types_of_typescript_are_current() {
    let path = root().join(FILE);
    let made = types();
    if std::env::var_os("WRITE_TYPES").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "{FILE} is not current; run `WRITE_TYPES=1 cargo test --workspace --test all \
         contract_types` and look at the difference"
    );
}

const TEMPLATES: &str = "webhook-host/src/cli/new";

/// Returns the digest of a generated folder and of all that it is made of, as `scripts/twins.sh`
/// does.
fn digest(generated: &str, tool: &str, release: &[u8]) -> String {
    let mut files = vec![(tool.to_owned(), release.to_vec())];
    for folder in ["policy-wasm/wit", &format!("{TEMPLATES}/wit"), generated] {
        walk(folder, &mut files);
    }
    files.sort();
    let mut all = vec![];
    for (path, content) in files {
        all.extend(format!("{path}\n").into_bytes());
        all.extend(content);
    }
    PolicyComponent::digest(&all).replace("sha256:", "")
}

fn walk(path: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(root().join(path)).expect("a folder") {
        let entry = entry.expect("it can be read");
        let inner = format!("{path}/{}", entry.file_name().display());
        if entry.path().is_dir() {
            walk(&inner, files);
        } else {
            let content = std::fs::read(entry.path()).expect("it can be read");
            files.push((inner, content));
        }
    }
}

#[test]
fn the_bindings_of_python_and_c_were_made_of_this_contract() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let python = format!("{TEMPLATES}/python/requirements.txt.txt");
    let c = format!("{TEMPLATES}/language.rs");
    let languages = read(&c);
    let (_, release) = languages
        .split_once("const WIT_BINDGEN: &str = \"")
        .expect("the release of wit-bindgen");
    let (release, _) = release.split_once('"').expect("a literal");
    for (language, folder, tool, release) in [
        ("python", "types", &python, read(&python)),
        ("c", "bindings", &c, format!("{release}\n")),
    ] {
        let generated = format!("{TEMPLATES}/{language}/{folder}");
        assert_eq!(
            digest(&generated, tool, release.as_bytes()),
            read(&format!("tests/twins/{language}/generated.sha256")).trim(),
            "{generated} is not current, or was edited by hand; run `WRITE_TYPES=1 \
             scripts/twins.sh {language}` and look at the difference"
        );
    }
}

/// Declares each interface as a module of its own, under the name by which QuickJS knows it.
fn types() -> String {
    let mut sources = SourceMap::new();
    let folder = root().join("policy-wasm/wit");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the contract")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("UTF-8");
        sources.push_str(&file.display().to_string(), text);
    }
    let group = sources.parse().map_err(|(_, error)| error).expect("WIT");
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group).expect("it is complete");
    let mut text =
        "// The contract sallyport:policy. Made of its WIT, wit/deps; not to be changed.\n"
            .to_owned();
    for interface in resolve.packages[package].interfaces.values() {
        declare(&resolve, &resolve.interfaces[*interface], &mut text);
    }
    text
}

fn declare(resolve: &Resolve, interface: &Interface, text: &mut String) {
    let name = module(resolve, interface);
    write!(text, "\ndeclare module '{name}' {{\n").expect("a String takes all");
    for (name, id) in &interface.types {
        define(resolve, name, &resolve.types[*id], text);
    }
    let functions = interface.functions.values();
    if interface.name.as_deref() == Some("policy") {
        text.push_str("\n  /** The exports of every policy. */\n  export interface Policy {\n");
        for function in functions {
            comment(&function.docs, "    ", text);
            writeln!(text, "    {};", signature(resolve, function)).expect("a String takes all");
        }
        text.push_str("  }\n");
    } else {
        for function in functions {
            text.push('\n');
            comment(&function.docs, "  ", text);
            writeln!(text, "  export function {};", signature(resolve, function))
                .expect("a String takes all");
        }
    }
    text.push_str("}\n");
}

fn module(resolve: &Resolve, interface: &Interface) -> String {
    let package = &resolve.packages[interface.package.expect("of the contract")].name;
    let name = interface.name.as_deref().expect("it has a name");
    let version = package.version.as_ref().expect("it has a version");
    format!("{}:{}/{name}@{version}", package.namespace, package.name)
}

fn define(resolve: &Resolve, name: &str, definition: &TypeDef, text: &mut String) {
    let name = pascal(name);
    // A type that another interface defines.
    if let TypeDefKind::Type(Type::Id(id)) = definition.kind {
        let original = &resolve.types[id];
        if let TypeOwner::Interface(owner) = original.owner
            && TypeOwner::Interface(owner) != definition.owner
        {
            let from = module(resolve, &resolve.interfaces[owner]);
            writeln!(text, "  import type {{ {name} }} from '{from}';")
                .expect("a String takes all");
            writeln!(text, "  export type {{ {name} }};").expect("a String takes all");
            return;
        }
    }
    text.push('\n');
    comment(&definition.docs, "  ", text);
    match &definition.kind {
        TypeDefKind::Record(record) => {
            writeln!(text, "  export interface {name} {{").expect("a String takes all");
            for field in &record.fields {
                comment(&field.docs, "    ", text);
                member(resolve, &field.name, field.ty, text);
            }
            text.push_str("  }\n");
        }
        TypeDefKind::Flags(flags) => {
            writeln!(text, "  export interface {name} {{").expect("a String takes all");
            for flag in &flags.flags {
                comment(&flag.docs, "    ", text);
                writeln!(text, "    {}?: boolean;", camel(&flag.name)).expect("a String takes all");
            }
            text.push_str("  }\n");
        }
        TypeDefKind::Enum(cases) => {
            writeln!(text, "  export type {name} =").expect("a String takes all");
            for case in &cases.cases {
                comment(&case.docs, "    ", text);
                writeln!(text, "    | '{}'", case.name).expect("a String takes all");
            }
            end_of_union(text);
        }
        TypeDefKind::Variant(variant) => {
            writeln!(text, "  export type {name} =").expect("a String takes all");
            for case in &variant.cases {
                comment(&case.docs, "    ", text);
                let payload = case
                    .ty
                    .map(|ty| format!("; val: {}", type_of(resolve, ty)))
                    .unwrap_or_default();
                writeln!(text, "    | {{ tag: '{}'{payload} }}", case.name)
                    .expect("a String takes all");
            }
            end_of_union(text);
        }
        TypeDefKind::Type(ty) => {
            let ty = type_of(resolve, *ty);
            writeln!(text, "  export type {name} = {ty};").expect("a String takes all");
        }
        kind => {
            let ty = anonymous(resolve, kind);
            writeln!(text, "  export type {name} = {ty};").expect("a String takes all");
        }
    }
}

/// The last case of a union ends the declaration.
fn end_of_union(text: &mut String) {
    assert_eq!(text.pop(), Some('\n'));
    text.push_str(";\n");
}

fn member(resolve: &Resolve, name: &str, ty: Type, text: &mut String) {
    let name = camel(name);
    let option = match ty {
        Type::Id(id) => match resolve.types[id].kind {
            TypeDefKind::Option(inner) => Some(inner),
            _ => None,
        },
        _ => None,
    };
    match option {
        Some(inner) => writeln!(text, "    {name}?: {};", type_of(resolve, inner)),
        None => writeln!(text, "    {name}: {};", type_of(resolve, ty)),
    }
    .expect("a String takes all");
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters: Vec<_> = function
        .params
        .iter()
        .map(|parameter| {
            let ty = type_of(resolve, parameter.ty);
            format!("{}: {ty}", camel(&parameter.name))
        })
        .collect();
    let result = function
        .result
        .map_or_else(|| "void".to_owned(), |ty| type_of(resolve, ty));
    format!(
        "{}({}): {result}",
        camel(&function.name),
        parameters.join(", ")
    )
}

fn type_of(resolve: &Resolve, ty: Type) -> String {
    match ty {
        Type::Bool => "boolean".into(),
        Type::String | Type::Char => "string".into(),
        Type::U64 | Type::S64 => "bigint".into(),
        Type::Id(id) => {
            let definition = &resolve.types[id];
            match &definition.name {
                Some(name) => pascal(name),
                None => anonymous(resolve, &definition.kind),
            }
        }
        _ => "number".into(),
    }
}

fn anonymous(resolve: &Resolve, kind: &TypeDefKind) -> String {
    match kind {
        TypeDefKind::List(item) => {
            let item = type_of(resolve, *item);
            if item.contains(' ') && !item.starts_with(['[', '{']) {
                format!("({item})[]")
            } else {
                format!("{item}[]")
            }
        }
        TypeDefKind::Option(inner) => format!("{} | undefined", type_of(resolve, *inner)),
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<_> = tuple.types.iter().map(|ty| type_of(resolve, *ty)).collect();
            format!("[{}]", types.join(", "))
        }
        TypeDefKind::Handle(Handle::Own(_) | Handle::Borrow(_)) => {
            panic!("the contract has no resources")
        }
        kind => panic!("the contract has no such type: {kind:?}"),
    }
}

fn comment(docs: &Docs, indent: &str, text: &mut String) {
    let Some(docs) = &docs.contents else { return };
    let lines: Vec<_> = docs.trim().lines().map(str::trim_end).collect();
    if let [line] = lines.as_slice() {
        writeln!(text, "{indent}/** {line} */").expect("a String takes all");
        return;
    }
    writeln!(text, "{indent}/**").expect("a String takes all");
    for line in lines {
        let line = format!("{indent} * {line}");
        writeln!(text, "{}", line.trim_end()).expect("a String takes all");
    }
    writeln!(text, "{indent} */").expect("a String takes all");
}

/// `node-port` is `nodePort`.
fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |camel, word| camel + &capital(word))
}

/// `node-port` is `NodePort`.
fn pascal(name: &str) -> String {
    name.split('-').map(capital).collect()
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}
