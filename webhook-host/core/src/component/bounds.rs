//! Bounds on the form of a component, checked while it is read and before anything of it is
//! compiled.
//!
//! A compiler takes memory and time for more than the bytes of its input: a function of 46 KB with
//! thousands of local variables and loops takes gigabytes. So each part that can make compiling
//! expensive has a bound here, above the numbers of the largest real components, which are given
//! below: those that carry a JavaScript engine (StarlingMonkey, 12 MB) or CPython (18 MB). A
//! component within these bounds is still compiled in a child process with limits (the host's
//! `child`); the bounds serve to name the problem before that.
//!
//! Reading takes memory for the parts counted here alone, and time proportional to the file. Called
//! by `component`.

use super::ComponentError;
use wasmparser::{
    BinaryReaderError, CompositeInnerType, FuncToValidate, FunctionBody, Operator, Payload,
    ValidatorResources, WasmModuleResources as _,
};

/// A countable part of a component, and its limit.
pub(super) struct Bound {
    /// Its name in the plural.
    pub(super) noun: &'static str,
    pub(super) most: u64,
    /// The fix.
    pub(super) fix: &'static str,
}

const SMALLER: &str = "link fewer dependencies into the policy";
const SPLIT: &str = "split the function, or build it with optimisation";
const MERGE: &str = "link the policy into one module";

/// Five times what a component that carries StarlingMonkey has.
const SIZE: Bound = Bound {
    noun: "bytes",
    most: 64 << 20,
    fix: SMALLER,
};
/// A component that carries StarlingMonkey has 12,600.
const FUNCTIONS: Bound = Bound {
    noun: "functions",
    most: 40_000,
    fix: SMALLER,
};
/// StarlingMonkey: 172 KB, CPython: 427 KB. wasmparser itself allows 7.6 MB.
const BODY: Bound = Bound {
    noun: "bytes of code",
    most: 512 << 10,
    fix: SPLIT,
};
/// StarlingMonkey: 118. wasmparser itself allows 50,000.
const LOCALS: Bound = Bound {
    noun: "local variables",
    most: 4_000,
    fix: SPLIT,
};
/// Nested blocks, loops and ifs. StarlingMonkey: 456.
const DEPTH: Bound = Bound {
    noun: "levels of nested blocks",
    most: 2_000,
    fix: SPLIT,
};
/// Each local variable may need a place at the head of each block, and takes up to 1 KB for each.
/// StarlingMonkey: 194,000.
const PLACES: Bound = Bound {
    noun: "pairs of a local variable and a block (their numbers multiplied)",
    most: 500_000,
    fix: SPLIT,
};
/// All of one function. StarlingMonkey: 453 in one table.
const TARGETS: Bound = Bound {
    noun: "targets of br_table",
    most: 20_000,
    fix: SPLIT,
};
/// A Rust guest has 1 to 3, CPython with its libraries 38.
const MODULES: Bound = Bound {
    noun: "core modules",
    most: 64,
    fix: MERGE,
};
/// A Rust guest has 1.
const COMPONENTS: Bound = Bound {
    noun: "nested components",
    most: 64,
    fix: MERGE,
};
/// A Rust guest has 1.
const NESTING: Bound = Bound {
    noun: "levels of components in components",
    most: 8,
    fix: MERGE,
};
/// Those that the file lists, modules and components together; `instantiation` counts what they
/// come to.
const INSTANCES: Bound = Bound {
    noun: "instances",
    most: 1_000,
    fix: MERGE,
};
/// StarlingMonkey: 140, and 75 of the component.
const TYPES: Bound = Bound {
    noun: "types",
    most: 10_000,
    fix: SMALLER,
};
/// CPython, whose libraries import each other's functions: 2,457.
const IMPORTS: Bound = Bound {
    noun: "imports",
    most: 10_000,
    fix: SMALLER,
};
/// CPython: 4,477.
const EXPORTS: Bound = Bound {
    noun: "exports",
    most: 10_000,
    fix: SMALLER,
};
/// A component aliases what it uses of others: 57 in a Rust guest, 1,490 in one of CPython.
const ALIASES: Bound = Bound {
    noun: "aliases and canonical functions",
    most: 10_000,
    fix: SMALLER,
};
/// StarlingMonkey: 1.
const GLOBALS: Bound = Bound {
    noun: "globals",
    most: 10_000,
    fix: SMALLER,
};
/// Those of all modules together; StarlingMonkey: 1 each.
const TABLES: Bound = Bound {
    noun: "tables and memories",
    most: 100,
    fix: MERGE,
};
/// StarlingMonkey: 1.
const ELEMENTS: Bound = Bound {
    noun: "element segments",
    most: 10_000,
    fix: SMALLER,
};
/// StarlingMonkey: 6,714.
const DATA: Bound = Bound {
    noun: "data segments",
    most: 30_000,
    fix: SMALLER,
};

/// Counts the parts of a component, all its modules and nested components together.
#[derive(Default)]
pub(super) struct Bounds {
    functions: u64,
    modules: u64,
    components: u64,
    nesting: u64,
    instances: u64,
    types: u64,
    imports: u64,
    exports: u64,
    aliases: u64,
    globals: u64,
    tables: u64,
    elements: u64,
    data: u64,
}

impl Bounds {
    /// Starts counting for a component with this number of bytes.
    ///
    /// # Errors
    ///
    /// When these are too many bytes.
    pub(super) fn new(bytes: usize) -> Result<Self, ComponentError> {
        SIZE.check(bytes as u64)?;
        Ok(Self::default())
    }

    /// Adds one part. `depth` is the number of components and modules around it.
    ///
    /// # Errors
    ///
    /// When a part exceeds its limit.
    pub(super) fn add(
        &mut self,
        payload: &Payload<'_>,
        depth: usize,
    ) -> Result<(), ComponentError> {
        let (bound, counter, more) = match payload {
            Payload::CodeSectionStart { count, .. } => (FUNCTIONS, &mut self.functions, *count),
            Payload::ModuleSection { .. } => (MODULES, &mut self.modules, 1),
            Payload::ComponentSection { .. } => {
                self.nesting = self.nesting.max(depth as u64);
                NESTING.check(self.nesting)?;
                (COMPONENTS, &mut self.components, 1)
            }
            Payload::InstanceSection(section) => (INSTANCES, &mut self.instances, section.count()),
            Payload::ComponentInstanceSection(section) => {
                (INSTANCES, &mut self.instances, section.count())
            }
            Payload::TypeSection(section) => (TYPES, &mut self.types, section.count()),
            Payload::CoreTypeSection(section) => (TYPES, &mut self.types, section.count()),
            Payload::ComponentTypeSection(section) => (TYPES, &mut self.types, section.count()),
            Payload::ImportSection(section) => (IMPORTS, &mut self.imports, section.count()),
            Payload::ComponentImportSection(section) => {
                (IMPORTS, &mut self.imports, section.count())
            }
            Payload::ExportSection(section) => (EXPORTS, &mut self.exports, section.count()),
            Payload::ComponentExportSection(section) => {
                (EXPORTS, &mut self.exports, section.count())
            }
            Payload::ComponentAliasSection(section) => {
                (ALIASES, &mut self.aliases, section.count())
            }
            Payload::ComponentCanonicalSection(section) => {
                (ALIASES, &mut self.aliases, section.count())
            }
            Payload::GlobalSection(section) => (GLOBALS, &mut self.globals, section.count()),
            Payload::TableSection(section) => (TABLES, &mut self.tables, section.count()),
            Payload::MemorySection(section) => (TABLES, &mut self.tables, section.count()),
            Payload::ElementSection(section) => (ELEMENTS, &mut self.elements, section.count()),
            Payload::DataSection(section) => (DATA, &mut self.data, section.count()),
            _ => return Ok(()),
        };
        *counter += u64::from(more);
        bound.check(*counter)
    }
}

impl Bound {
    /// Compares a number with the limit.
    ///
    /// # Errors
    ///
    /// When it is larger; the error names both and the fix.
    pub(super) fn check(&self, found: u64) -> Result<(), ComponentError> {
        self.check_in("it", found)
    }

    /// Checks a number against the bound. `place` is the part of the component that has it.
    fn check_in(&self, place: &str, found: u64) -> Result<(), ComponentError> {
        let Self { noun, most, fix } = self;
        if found <= *most {
            return Ok(());
        }
        Err(ComponentError::Bound(format!(
            "{place} has {found} {noun}, and a policy may have at most {most}; {fix}"
        )))
    }
}

/// Checks the parts that make compiling one function expensive.
pub(super) fn check_function(
    function: &FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
) -> Result<(), ComponentError> {
    let corrupt = |error: BinaryReaderError| ComponentError::corrupt(&error.to_string());
    let place = format!("its function {}", function.index);
    BODY.check_in(&place, body.range().len() as u64)?;
    let ty = function
        .resources
        .sub_type_at(function.ty)
        .map(|ty| &ty.composite_type.inner);
    let mut locals = match ty {
        Some(CompositeInnerType::Func(ty)) => ty.params().len() as u64,
        _ => 0,
    };
    for group in body.get_locals_reader().map_err(corrupt)? {
        locals += u64::from(group.map_err(corrupt)?.0);
        LOCALS.check_in(&place, locals)?;
    }
    let (mut blocks, mut depth, mut targets) = (1, 0_u64, 0);
    for operator in body.get_operators_reader().map_err(corrupt)? {
        match operator.map_err(corrupt)? {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => {
                (blocks, depth) = (blocks + 1, depth + 1);
                DEPTH.check_in(&place, depth)?;
                PLACES.check_in(&place, locals * blocks)?;
            }
            Operator::End => depth = depth.saturating_sub(1),
            Operator::BrTable { targets: table } => {
                targets += u64::from(table.len());
                TARGETS.check_in(&place, targets)?;
            }
            _ => {}
        }
    }
    Ok(())
}
