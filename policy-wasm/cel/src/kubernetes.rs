//! The environment of an admission policy's expressions, for Services of Kubernetes 1.36.

use crate::environment::Environment;
use crate::schema::{Field, Object, Schema};
use crate::types::Type;

/// The index of `object`.
pub const OBJECT: usize = 0;
/// The index of `oldObject`.
pub const OLD_OBJECT: usize = 1;
/// The index of `request`.
pub const REQUEST: usize = 2;
/// The index of `namespaceObject`.
pub const NAMESPACE_OBJECT: usize = 3;
/// The index of `params`.
pub const PARAMS: usize = 4;

/// Returns the environment of validations, match conditions and variables.
pub fn environment() -> Environment {
    Environment::new()
        .variable_of("object", Type::Hint(&SERVICE))
        .variable_of("oldObject", Type::Hint(&SERVICE))
        .variable_of("request", Type::Object(&REQUEST_TYPE))
        .variable_of("namespaceObject", Type::Object(&NAMESPACE_TYPE))
        .variable_of("params", Type::Dyn)
        .variable_of("variables", Type::Variables)
        .refuse("authorizer", NO_AUTHORIZER)
        .refuse("authorizer.requestResource", NO_AUTHORIZER)
}

const NO_AUTHORIZER: &str = "a policy reaches nothing outside of the review, so it can't ask the \
    API server for authorizations; use request.userInfo.groups, or rights of your own in params";

const NOT_KNOWN: &str = "Sallyport knows name, labels and annotations of a namespace";

/// `request`.
static REQUEST_TYPE: Object = Object {
    name: "kubernetes.AdmissionRequest",
    fields: &[
        ("kind", Field::Object(&KIND_TYPE)),
        ("resource", Field::Object(&RESOURCE_TYPE)),
        ("subResource", Field::String),
        ("requestKind", Field::Object(&KIND_TYPE)),
        ("requestResource", Field::Object(&RESOURCE_TYPE)),
        ("requestSubResource", Field::String),
        ("name", Field::String),
        ("namespace", Field::String),
        ("operation", Field::String),
        ("userInfo", Field::Object(&USER_TYPE)),
        ("dryRun", Field::Bool),
    ],
    missing: &[(
        "options",
        "Sallyport does not pass on the options of a request",
    )],
};

static KIND_TYPE: Object = Object {
    name: "kubernetes.GroupVersionKind",
    fields: &[
        ("group", Field::String),
        ("version", Field::String),
        ("kind", Field::String),
    ],
    missing: &[],
};

static RESOURCE_TYPE: Object = Object {
    name: "kubernetes.GroupVersionResource",
    fields: &[
        ("group", Field::String),
        ("version", Field::String),
        ("resource", Field::String),
    ],
    missing: &[],
};

static USER_TYPE: Object = Object {
    name: "kubernetes.UserInfo",
    fields: &[
        ("username", Field::String),
        ("uid", Field::String),
        ("groups", Field::Strings),
        ("extra", Field::StringListMap),
    ],
    missing: &[],
};

/// `namespaceObject`.
static NAMESPACE_TYPE: Object = Object {
    name: "kubernetes.Namespace",
    fields: &[("metadata", Field::Object(&NAMESPACE_METADATA_TYPE))],
    missing: &[("spec", NOT_KNOWN), ("status", NOT_KNOWN)],
};

/// The name of the type of `namespaceObject.metadata`; see [`crate::Uses::reads`].
pub const NAMESPACE_METADATA: &str = "kubernetes.NamespaceMetadata";

static NAMESPACE_METADATA_TYPE: Object = Object {
    name: NAMESPACE_METADATA,
    fields: &[
        ("name", Field::String),
        ("labels", Field::StringMap),
        ("annotations", Field::StringMap),
    ],
    missing: &[
        ("generateName", NOT_KNOWN),
        ("namespace", NOT_KNOWN),
        ("UID", NOT_KNOWN),
        ("creationTimestamp", NOT_KNOWN),
        ("deletionGracePeriodSeconds", NOT_KNOWN),
        ("deletionTimestamp", NOT_KNOWN),
        ("generation", NOT_KNOWN),
        ("resourceVersion", NOT_KNOWN),
        ("finalizers", NOT_KNOWN),
    ],
};

const STRINGS: Schema = Schema::List(&Schema::String);
const STRING_MAP: Schema = Schema::Map(&Schema::String);

/// A Service, as core/v1 has it.
pub static SERVICE: Schema = Schema::Object(&[
    ("apiVersion", &Schema::String),
    ("kind", &Schema::String),
    ("metadata", &METADATA),
    ("spec", &SPEC),
    ("status", &STATUS),
]);

static METADATA: Schema = Schema::Object(&[
    ("annotations", &STRING_MAP),
    ("creationTimestamp", &Schema::String),
    ("deletionGracePeriodSeconds", &Schema::Int),
    ("deletionTimestamp", &Schema::String),
    ("finalizers", &STRINGS),
    ("generateName", &Schema::String),
    ("generation", &Schema::Int),
    ("labels", &STRING_MAP),
    (
        "managedFields",
        &Schema::List(&Schema::Object(&[
            ("apiVersion", &Schema::String),
            ("fieldsType", &Schema::String),
            ("fieldsV1", &Schema::Any),
            ("manager", &Schema::String),
            ("operation", &Schema::String),
            ("subresource", &Schema::String),
            ("time", &Schema::String),
        ])),
    ),
    ("name", &Schema::String),
    ("namespace", &Schema::String),
    (
        "ownerReferences",
        &Schema::List(&Schema::Object(&[
            ("apiVersion", &Schema::String),
            ("blockOwnerDeletion", &Schema::Bool),
            ("controller", &Schema::Bool),
            ("kind", &Schema::String),
            ("name", &Schema::String),
            ("uid", &Schema::String),
        ])),
    ),
    ("resourceVersion", &Schema::String),
    ("selfLink", &Schema::String),
    ("uid", &Schema::String),
]);

static SPEC: Schema = Schema::Object(&[
    ("allocateLoadBalancerNodePorts", &Schema::Bool),
    ("clusterIP", &Schema::String),
    ("clusterIPs", &STRINGS),
    ("externalIPs", &STRINGS),
    ("externalName", &Schema::String),
    ("externalTrafficPolicy", &Schema::String),
    ("healthCheckNodePort", &Schema::Int),
    ("internalTrafficPolicy", &Schema::String),
    ("ipFamilies", &STRINGS),
    ("ipFamilyPolicy", &Schema::String),
    ("loadBalancerClass", &Schema::String),
    ("loadBalancerIP", &Schema::String),
    ("loadBalancerSourceRanges", &STRINGS),
    (
        "ports",
        &Schema::List(&Schema::Object(&[
            ("appProtocol", &Schema::String),
            ("name", &Schema::String),
            ("nodePort", &Schema::Int),
            ("port", &Schema::Int),
            ("protocol", &Schema::String),
            // A number or a name.
            ("targetPort", &Schema::Any),
        ])),
    ),
    ("publishNotReadyAddresses", &Schema::Bool),
    ("selector", &STRING_MAP),
    ("sessionAffinity", &Schema::String),
    (
        "sessionAffinityConfig",
        &Schema::Object(&[(
            "clientIP",
            &Schema::Object(&[("timeoutSeconds", &Schema::Int)]),
        )]),
    ),
    ("trafficDistribution", &Schema::String),
    ("type", &Schema::String),
]);

static STATUS: Schema = Schema::Object(&[
    (
        "conditions",
        &Schema::List(&Schema::Object(&[
            ("lastTransitionTime", &Schema::String),
            ("message", &Schema::String),
            ("observedGeneration", &Schema::Int),
            ("reason", &Schema::String),
            ("status", &Schema::String),
            ("type", &Schema::String),
        ])),
    ),
    (
        "loadBalancer",
        &Schema::Object(&[(
            "ingress",
            &Schema::List(&Schema::Object(&[
                ("hostname", &Schema::String),
                ("ip", &Schema::String),
                ("ipMode", &Schema::String),
                (
                    "ports",
                    &Schema::List(&Schema::Object(&[
                        ("error", &Schema::String),
                        ("port", &Schema::Int),
                        ("protocol", &Schema::String),
                    ])),
                ),
            ])),
        )]),
    ),
]);
