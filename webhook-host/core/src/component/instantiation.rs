//! Counts the parts of which one instance of a component consists: its core instances with their
//! memories and tables, and its component instances, nested ones included.
//!
//! The host's pool reserves room for a fixed number of each, and wasmtime refuses a component with
//! more after it has compiled it, in the pool's words. Here they are counted while the file is
//! read, because a component may instantiate a nested component any number of times. Imported and
//! aliased modules count as nothing, since their parts are not known: wasmtime's own check remains.
//! Called by `component`.

use super::ComponentError;
use super::bounds::Bound;
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, Encoding, Instance, Payload,
};

/// The core instances that one policy may consist of. Rust: 1, or 3 with the shims that an import
/// needs. QuickJS: 11. Python: 38.
pub const MAX_CORE_INSTANCES: u32 = 48;

/// The memories that one policy may have. Rust, C and Python: 1. QuickJS: 3.
pub const MAX_MEMORIES: u32 = 4;

/// The tables that one policy may have. Rust: 2. Python: 2. QuickJS: 3.
pub const MAX_TABLES: u32 = 8;

const TOOLCHAIN: &str = "no toolchain in docs/languages.md links so many; link the policy into \
                         one core module, without dynamic libraries";

const CORE_INSTANCES: Bound = Bound {
    noun: "core instances",
    most: MAX_CORE_INSTANCES as u64,
    fix: TOOLCHAIN,
};
const MEMORIES: Bound = Bound {
    noun: "memories",
    most: MAX_MEMORIES as u64,
    fix: TOOLCHAIN,
};
const TABLES: Bound = Bound {
    noun: "tables",
    most: MAX_TABLES as u64,
    fix: TOOLCHAIN,
};
/// wasmtime takes time for each of them when it compiles. QuickJS: 24.
const COMPONENT_INSTANCES: Bound = Bound {
    noun: "component instances",
    most: 1_000,
    fix: "link the policy into one component",
};

/// The parts of one instance of a module or component.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    core_instances: u64,
    component_instances: u64,
    memories: u64,
    tables: u64,
}

impl Parts {
    /// Adds the parts of one more instance. Saturates, because nesting multiplies.
    fn add(&mut self, more: Self) {
        for (sum, more) in [
            (&mut self.core_instances, more.core_instances),
            (&mut self.component_instances, more.component_instances),
            (&mut self.memories, more.memories),
            (&mut self.tables, more.tables),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    fn check(self) -> Result<(), ComponentError> {
        CORE_INSTANCES.check(self.core_instances)?;
        COMPONENT_INSTANCES.check(self.component_instances)?;
        MEMORIES.check(self.memories)?;
        TABLES.check(self.tables)
    }
}

/// A module or component that is being read.
struct Scope {
    encoding: Encoding,
    /// The parts of one instance of it, so far.
    parts: Parts,
    /// Its index spaces of modules and components.
    modules: Vec<Parts>,
    components: Vec<Parts>,
}

/// The modules and components around the payload that is read next, the innermost last.
#[derive(Default)]
pub(super) struct Instantiation {
    scopes: Vec<Scope>,
}

impl Instantiation {
    /// Adds one payload, in the file's order.
    ///
    /// # Errors
    ///
    /// When one instance of the whole component has too many parts.
    pub(super) fn add(&mut self, payload: &Payload<'_>) -> Result<(), ComponentError> {
        let corrupt = |error: BinaryReaderError| ComponentError::corrupt(&error.to_string());
        match payload {
            Payload::Version { encoding, .. } => self.open(*encoding),
            Payload::End(_) => return self.close(),
            Payload::MemorySection(section) => {
                self.innermost(|scope| scope.parts.memories += u64::from(section.count()));
            }
            Payload::TableSection(section) => {
                self.innermost(|scope| scope.parts.tables += u64::from(section.count()));
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance.map_err(corrupt)? {
                        self.innermost(|scope| scope.instantiate_module(module_index));
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate {
                        component_index, ..
                    } = instance.map_err(corrupt)?
                    {
                        self.innermost(|scope| scope.instantiate_component(component_index));
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias.map_err(corrupt)?);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let kind = import.map_err(corrupt)?.ty.kind();
                    self.innermost(|scope| scope.define(kind, Parts::default()));
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export.map_err(corrupt)?;
                    self.innermost(|scope| scope.export(export.kind, export.index));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn innermost(&mut self, count: impl FnOnce(&mut Scope)) {
        if let Some(scope) = self.scopes.last_mut() {
            count(scope);
        }
    }

    fn open(&mut self, encoding: Encoding) {
        self.scopes.push(Scope {
            encoding,
            parts: Parts::default(),
            modules: vec![],
            components: vec![],
        });
    }

    /// Ends the innermost module or component: its instances can be counted from here on.
    fn close(&mut self) -> Result<(), ComponentError> {
        let Some(mut scope) = self.scopes.pop() else {
            return Ok(());
        };
        let Some(outer) = self.scopes.last_mut() else {
            return scope.parts.check();
        };
        match scope.encoding {
            Encoding::Module => {
                scope.parts.core_instances = 1;
                outer.modules.push(scope.parts);
            }
            Encoding::Component => {
                scope.parts.component_instances += 1;
                outer.components.push(scope.parts);
            }
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match *alias {
            ComponentAlias::InstanceExport { kind, .. } => {
                self.innermost(|scope| scope.define(kind, Parts::default()));
            }
            ComponentAlias::Outer { kind, count, index } => {
                let outermost_first = self.scopes.len().checked_sub(1 + count as usize);
                let Some(outer) = outermost_first.and_then(|index| self.scopes.get(index)) else {
                    return;
                };
                let (kind, parts) = match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        (ComponentExternalKind::Module, parts(&outer.modules, index))
                    }
                    ComponentOuterAliasKind::Component => (
                        ComponentExternalKind::Component,
                        parts(&outer.components, index),
                    ),
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => return,
                };
                self.innermost(|scope| scope.define(kind, parts));
            }
            ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }
}

impl Scope {
    /// Adds an item to the index space of modules or of components.
    fn define(&mut self, kind: ComponentExternalKind, parts: Parts) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(parts),
            ComponentExternalKind::Component => self.components.push(parts),
            _ => {}
        }
    }

    /// Records an export: it defines the item once more, under the next index.
    fn export(&mut self, kind: ComponentExternalKind, index: u32) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(parts(&self.modules, index)),
            ComponentExternalKind::Component => {
                self.components.push(parts(&self.components, index));
            }
            _ => {}
        }
    }

    fn instantiate_module(&mut self, index: u32) {
        self.parts.add(parts(&self.modules, index));
    }

    fn instantiate_component(&mut self, index: u32) {
        self.parts.add(parts(&self.components, index));
    }
}

/// Returns an item's parts; none for an index without an item, which the validator refuses.
fn parts(items: &[Parts], index: u32) -> Parts {
    items.get(index as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::component::PolicyComponent;

    /// Ids of a component's sections.
    const MODULE: u8 = 1;
    const CORE_INSTANCE: u8 = 2;
    const COMPONENT: u8 = 4;
    const INSTANCE: u8 = 5;
    const ALIAS: u8 = 6;

    /// Ids of a module's sections.
    const TABLE: u8 = 4;
    const MEMORY: u8 = 5;

    /// Encodes a section. Short content alone: its size takes one byte, or two.
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let size = content.len();
        let low = u8::try_from(size & 0x7f).expect("seven bits");
        let high = u8::try_from(size >> 7).expect("less than 16 KiB");
        let size = if high == 0 {
            vec![low]
        } else {
            vec![low | 0x80, high]
        };
        [&[id], &*size, content].concat()
    }

    /// Encodes a section with `count` equal items.
    fn items(id: u8, count: u8, item: &[u8]) -> Vec<u8> {
        section(id, &[&[count], &*item.repeat(count.into())].concat())
    }

    fn module(sections: &[Vec<u8>]) -> Vec<u8> {
        section(MODULE, &[b"\0asm\x01\0\0\0", &*sections.concat()].concat())
    }

    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [b"\0asm\x0d\0\x01\0", &*sections.concat()].concat()
    }

    /// Instantiates the module 0, or the component 0, without arguments.
    fn core_instances(count: u8) -> Vec<u8> {
        items(CORE_INSTANCE, count, &[0, 0, 0])
    }

    fn instances(count: u8) -> Vec<u8> {
        items(INSTANCE, count, &[0, 0, 0])
    }

    fn refused(component: &[u8]) -> String {
        PolicyComponent::read(component)
            .map(|_| ())
            .expect_err("no policy")
            .to_string()
    }

    #[test]
    fn core_instances_are_counted_through_nested_components() {
        let nested = component(&[module(&[]), core_instances(7)]);
        let nested = section(COMPONENT, &nested);
        for (count, refusal) in [
            (6, "exports no sallyport:policy/policy@"),
            (
                7,
                "not compiled: it has 49 core instances, and a policy may have at most 48; ",
            ),
        ] {
            let error = refused(&component(&[nested.clone(), instances(count)]));
            assert!(error.starts_with(refusal), "{error}");
        }
    }

    #[test]
    fn memories_and_tables_are_those_of_each_instance() {
        let memory = module(&[items(MEMORY, 1, &[0, 1])]);
        let error = refused(&component(&[memory, core_instances(5)]));
        assert!(
            error.contains("it has 5 memories, and a policy may have at most 4"),
            "{error}"
        );
        let tables = module(&[items(TABLE, 3, &[0x70, 0, 1])]);
        let error = refused(&component(&[tables, core_instances(3)]));
        assert!(
            error.contains("it has 9 tables, and a policy may have at most 8"),
            "{error}"
        );
    }

    #[test]
    fn a_module_of_an_outer_component_counts_where_it_is_instantiated() {
        // Aliases the module 0 of the component around it.
        let alias = items(ALIAS, 1, &[0, 0x11, 2, 1, 0]);
        let nested = section(COMPONENT, &component(&[alias, core_instances(10)]));
        let error = refused(&component(&[module(&[]), nested, instances(5)]));
        assert!(error.contains("it has 50 core instances"), "{error}");
    }

    #[test]
    fn nesting_that_multiplies_is_refused_and_counted_without_overflow() {
        let doubled = |inner: Vec<u8>| component(&[section(COMPONENT, &inner), instances(100)]);
        let error = refused(&(0..8).fold(component(&[]), |inner, _| doubled(inner)));
        assert!(
            error.contains("component instances, and a policy may have at most"),
            "{error}"
        );
    }
}
