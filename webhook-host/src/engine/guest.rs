//! A linked component: instantiated for every evaluation, the contract's functions looked up and
//! type-checked once.
//!
//! wasmtime's generated bindings check the types of every export of every instance, which is a
//! noticeable part of a review that takes microseconds. Here one instance is checked at load, and a
//! call looks up the one function that it needs, by index. Made by `load` and `preinit`; called by
//! `evaluator`.

use super::State;
use sallyport_core::contract::description::Description;
use sallyport_core::contract::review::Review;
use sallyport_core::contract::verdict::Verdict;
use sallyport_core::contract::{PACKAGE, VERSION};
use std::marker::PhantomData;
use wasmtime::Store;
use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc,
};

/// A component whose functions can be called.
pub(crate) struct Guest {
    pre: InstancePre<State>,
    describe: Export<(), (Description,)>,
    validate: Export<(&'static Review,), (Verdict,)>,
    mutate: Export<(&'static Review,), (Verdict,)>,
}

impl Guest {
    /// Checks a component's functions on an instance.
    ///
    /// # Errors
    ///
    /// Fails when one is missing or has other types.
    pub(super) fn check(
        pre: InstancePre<State>,
        store: &mut Store<State>,
        instance: &Instance,
    ) -> wasmtime::Result<Self> {
        Ok(Self {
            pre,
            describe: Export::check(instance, store, "describe")?,
            validate: Export::check(instance, store, "validate")?,
            mutate: Export::check(instance, store, "mutate")?,
        })
    }

    pub(crate) fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Instance> {
        self.pre.instantiate(store)
    }

    pub(super) fn describe(
        &self,
        store: &mut Store<State>,
        instance: &Instance,
    ) -> wasmtime::Result<Description> {
        Ok(self.describe.function(instance, store)?.call(store, ())?.0)
    }

    pub(crate) fn validate(
        &self,
        store: &mut Store<State>,
        instance: &Instance,
        review: &Review,
    ) -> wasmtime::Result<Verdict> {
        Ok(self
            .validate
            .function(instance, store)?
            .call(store, (review,))?
            .0)
    }

    pub(crate) fn mutate(
        &self,
        store: &mut Store<State>,
        instance: &Instance,
        review: &Review,
    ) -> wasmtime::Result<Verdict> {
        Ok(self
            .mutate
            .function(instance, store)?
            .call(store, (review,))?
            .0)
    }
}

/// A function of the interface `policy`, known to have these types.
struct Export<Params, Results> {
    index: ComponentExportIndex,
    types: PhantomData<fn(Params) -> Results>,
}

impl<Params, Results> Export<Params, Results>
where
    Params: ComponentNamedList + Lower,
    Results: ComponentNamedList + Lift,
{
    fn check(
        instance: &Instance,
        store: &mut Store<State>,
        function: &str,
    ) -> wasmtime::Result<Self> {
        let interface = format!("{PACKAGE}/policy@{VERSION}");
        let index = instance
            .get_export_index(&mut *store, None, &interface)
            .and_then(|interface| {
                instance.get_export_index(&mut *store, Some(&interface), function)
            });
        let index = index.ok_or_else(|| wasmtime::format_err!("{interface} has no {function}"))?;
        instance.get_typed_func::<Params, Results>(store, index)?;
        Ok(Self {
            index,
            types: PhantomData,
        })
    }

    /// Returns the function of another instance of the same component.
    #[expect(
        unsafe_code,
        reason = "avoids a type check of every instance; one instance was checked at load"
    )]
    fn function(
        &self,
        instance: &Instance,
        store: &mut Store<State>,
    ) -> wasmtime::Result<TypedFunc<Params, Results>> {
        // An index belongs to its component: an instance of another one has no such function.
        let function = instance.get_func(store, self.index);
        let function =
            function.ok_or_else(|| wasmtime::format_err!("an instance of another component"))?;
        // SAFETY: the function has these types. `check`, the only constructor, asked
        // `get_typed_func` of an instance of the same component, and a function's type is its
        // component's: all that can differ between two instances is what a resource is, and the
        // contract has no resources.
        Ok(unsafe { TypedFunc::new_unchecked(function) })
    }
}
