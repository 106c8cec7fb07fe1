"""The policy service-type (S01, M1) in Python. Its Rust twin is policies/service-type."""

import re

import wit_world
from componentize_py_types import Err
from sallyport import add, logged, quote, verdict
from wit_world import Settings, exports
from wit_world.imports.description import About, Description
from wit_world.imports.review import Operation, Phase, Resource, Review
from wit_world.imports.service import ServiceType
from wit_world.imports.verdict import SettingsError, Verdict, Violation

# The names that Kubernetes has for the types.
NAMES = {
    ServiceType.CLUSTER_IP: "ClusterIP",
    ServiceType.NODE_PORT: "NodePort",
    ServiceType.LOAD_BALANCER: "LoadBalancer",
    ServiceType.EXTERNAL_NAME: "ExternalName",
}

# RFC 1123: the names that a namespace can have.
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")

settings: Settings | None = None


class WitWorld(wit_world.WitWorld):
    def defaults(self) -> Settings:
        return Settings(allowed_types=list(ServiceType), per_namespace=[])

    def configure(self, given: Settings) -> None:
        global settings
        errors = [*empty_lists(given), *impossible_names(given)]
        if errors:
            raise Err(errors)
        settings = given


class Policy(exports.Policy):
    @logged
    def describe(self) -> Description:
        return Description(
            name="service-type",
            version="0.1.0",
            phases=[Phase.VALIDATING, Phase.MUTATING],
            operations=[Operation.CREATE, Operation.UPDATE],
            resources=[Resource.SERVICES],
            context=[],
            about=About(0),
            compares=[],
        )

    @logged
    def validate(self, review: Review) -> Verdict:
        found = review.service.spec.type
        found = ServiceType.CLUSTER_IP if found is None else found
        allowed = allowed_in(review.namespace.name)
        if found in allowed:
            return verdict()
        return verdict(violations=[violation(found, review.namespace.name, allowed)])

    @logged
    def mutate(self, review: Review) -> Verdict:
        """Only raw manifests can lack a type: a live API server has set the default."""
        if review.service.spec.type is not None:
            return verdict()
        parent = [] if review.service.has_spec else [add("/spec", {})]
        return verdict(patch=[*parent, add("/spec/type", NAMES[ServiceType.CLUSTER_IP])])



def allowed_in(namespace: str) -> list[ServiceType]:
    own = (types for name, types in settings.per_namespace if name == namespace)
    return next(own, settings.allowed_types)


def violation(found: ServiceType, namespace: str, allowed: list[ServiceType]) -> Violation:
    return Violation(
        rule="S01",
        key=NAMES[found],
        field="spec.type",
        message=f"{NAMES[found]} is not allowed in namespace {quote(namespace)}",
        fix="use " + " or ".join(NAMES[name] for name in allowed),
    )



def empty_lists(given: Settings) -> list[SettingsError]:
    lists = [("allowedTypes", given.allowed_types)]
    lists += [(f"perNamespace[{quote(name)}]", types) for name, types in given.per_namespace]
    problem = "an empty list allows no Service at all; name at least one type"
    return [SettingsError(path, problem) for path, types in lists if not types]


def impossible_names(given: Settings) -> list[SettingsError]:
    """As the Rust SDK's `names::namespaces`."""
    problem = (
        "no namespace can have this name, so that it has no effect; "
        "write the names one by one, without patterns"
    )
    return [
        SettingsError(f"perNamespace[{quote(name)}]", problem)
        for name, _ in given.per_namespace
        if not NAMESPACE.match(name)
    ]
