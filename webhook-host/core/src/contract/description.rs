//! The interface `description`: a policy's description of itself.

use super::review::{Operation, Phase, Resource};
#[cfg(feature = "wasmtime")]
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(record)
)]
pub struct Description {
    pub name: String,
    pub version: String,
    pub phases: Vec<Phase>,
    pub operations: Vec<Operation>,
    pub resources: Vec<Resource>,
    pub context: Vec<Context>,
    pub about: About,
    pub compares: Vec<Compared>,
}

#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(variant)
)]
pub enum Compared {
    #[cfg_attr(feature = "wasmtime", component(name = "annotation"))]
    Annotation(String),
    #[cfg_attr(feature = "wasmtime", component(name = "label"))]
    Label(String),
    #[cfg_attr(feature = "wasmtime", component(name = "namespace-label"))]
    NamespaceLabel(String),
    #[cfg_attr(feature = "wasmtime", component(name = "namespace-annotation"))]
    NamespaceAnnotation(String),
    #[cfg_attr(feature = "wasmtime", component(name = "external-name"))]
    ExternalName,
    #[cfg_attr(feature = "wasmtime", component(name = "user"))]
    User,
    #[cfg_attr(feature = "wasmtime", component(name = "user-uid"))]
    UserUid,
    #[cfg_attr(feature = "wasmtime", component(name = "user-extra"))]
    UserExtra(String),
    #[cfg_attr(feature = "wasmtime", component(name = "condition-messages"))]
    ConditionMessages,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "wasmtime",
    derive(ComponentType, Lift, Lower),
    component(enum)
)]
#[repr(u8)]
pub enum Context {
    #[cfg_attr(feature = "wasmtime", component(name = "namespace"))]
    Namespace,
    #[cfg_attr(feature = "wasmtime", component(name = "namespace-annotations"))]
    NamespaceAnnotations,
    #[cfg_attr(feature = "wasmtime", component(name = "cluster"))]
    Cluster,
    #[cfg_attr(feature = "wasmtime", component(name = "pods"))]
    Pods,
    #[cfg_attr(feature = "wasmtime", component(name = "raw-objects"))]
    RawObjects,
}

/// Declares [`About`] once, as wasmtime's kind of flags or as plain data with the same methods.
macro_rules! about {
    ($($flag:ident = $name:literal,)*) => {
        #[cfg(feature = "wasmtime")]
        wasmtime::component::flags! {
            About {
                $(#[component(name = $name)] const $flag;)*
            }
        }

        #[cfg(not(feature = "wasmtime"))]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct About(u32);

        #[cfg(not(feature = "wasmtime"))]
        impl About {
            about!(@bits 0; $($flag)*);

            pub fn empty() -> Self {
                Self(0)
            }

            pub fn contains(&self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            pub fn intersects(&self, other: Self) -> bool {
                self.0 & other.0 != 0
            }
        }

        impl About {
            /// Every flag with its name in WIT.
            pub const ALL: [(Self, &str); [$($name),*].len()] = [$((Self::$flag, $name)),*];
        }
    };
    (@bits $bit:expr; $flag:ident $($more:ident)*) => {
        pub const $flag: Self = Self(1 << ($bit));
        about!(@bits $bit + 1; $($more)*);
    };
    (@bits $bit:expr;) => {};
}

about! {
    TYPE_UNSET = "type-unset",
    CLUSTER_IP = "cluster-ip",
    NODE_PORT = "node-port",
    LOAD_BALANCER = "load-balancer",
    EXTERNAL_NAME = "external-name",
    NODE_PORTS = "node-ports",
    EXTERNAL_IPS = "external-ips",
    ALIAS = "alias",
    LOAD_BALANCER_FIELDS = "load-balancer-fields",
    SELECTORLESS = "selectorless",
    ANNOTATIONS = "annotations",
    CHANGED_LABELS = "changed-labels",
    COMPARED_ANNOTATIONS = "compared-annotations",
    COMPARED_LABELS = "compared-labels",
}

#[cfg(not(feature = "wasmtime"))]
impl std::ops::BitOr for About {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
