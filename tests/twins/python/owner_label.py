"""The policy owner-label (X02, X03) in Python. Its Rust twin is tests/guests/owner-label."""

import wit_world
from componentize_py_types import Err
from sallyport import add, get, logged, pointer, quote, verdict
from wit_world import Settings, exports
from wit_world.imports import log
from wit_world.imports.description import (
    About,
    Compared_Label,
    Compared_NamespaceLabel,
    Context,
    Description,
)
from wit_world.imports.review import Namespace, Operation, Phase, Resource, Review
from wit_world.imports.service import Service, ServiceType
from wit_world.imports.verdict import SettingsError, Verdict, Violation

settings: Settings | None = None


class WitWorld(wit_world.WitWorld):
    def defaults(self) -> Settings:
        return Settings(label="owner", types=list(ServiceType), owners=[], max_length=None)

    def configure(self, given: Settings) -> None:
        global settings
        errors = []
        if given.label == "":
            errors.append(SettingsError("label", "empty; name the key of a label, such as owner"))
        if not given.types:
            problem = "an empty list leaves no Service to judge; name at least one type"
            errors.append(SettingsError("types", problem))
        for namespace, owner in given.owners:
            if owner == "":
                errors.append(SettingsError(f"owners[{quote(namespace)}]", "empty; name an owner"))
        if given.max_length == 0:
            problem = "0 allows no owner; leave it out, or use at least 1"
            errors.append(SettingsError("maxLength", problem))
        if errors:
            raise Err(errors)
        settings = given


class Policy(exports.Policy):
    @logged
    def describe(self) -> Description:
        label = settings.label if settings else None
        return Description(
            name="owner-label",
            version="0.1.0",
            phases=[Phase.VALIDATING, Phase.MUTATING],
            operations=[Operation.CREATE, Operation.UPDATE],
            resources=[Resource.SERVICES],
            context=[Context.NAMESPACE],
            about=About(0),
            compares=[Compared_Label(label), Compared_NamespaceLabel(label)] if label else [],
        )

    @logged
    def validate(self, review: Review) -> Verdict:
        if not concerns(review.service):
            return verdict()
        owner = owner_of(review.namespace)
        answer = verdict(violations=judge(review, owner))
        if not review.namespace.known:
            name = quote(review.namespace.name)
            answer.warnings.append(f"the labels of namespace {name} are not known")
        if owner is not None:
            answer.audit_annotations.append(("owner", owner))
        return answer

    @logged
    def mutate(self, review: Review) -> Verdict:
        labels = review.service.metadata.labels
        owner = owner_of(review.namespace)
        found = get(labels, settings.label)
        if not concerns(review.service) or owner is None or found is not None:
            return verdict()
        log.log(log.Level.DEBUG, f"adds the owner {quote(owner)}")
        parent = [] if labels else [add("/metadata/labels", {})]
        return verdict(patch=[*parent, add(f"/metadata/labels/{pointer(settings.label)}", owner)])



def concerns(service: Service) -> bool:
    found = service.spec.type
    return (ServiceType.CLUSTER_IP if found is None else found) in settings.types


def owner_of(namespace: Namespace) -> str | None:
    """The owner of a namespace: its label counts before the settings."""
    labelled = get(namespace.labels, settings.label)
    return get(settings.owners, namespace.name) if labelled is None else labelled



def judge(review: Review, owner: str | None) -> list[Violation]:
    label = settings.label
    found = get(review.service.metadata.labels, label)
    if found is None:
        fix = "add it" if owner is None else f"add it with the value {quote(owner)}"
        return [violation("X02", label, f"the label {quote(label)} is missing", fix)]
    key = f"{label}={found}"
    if owner is not None and owner != found:
        message = (
            f"the label {quote(label)} says {quote(found)}, "
            f"but namespace {quote(review.namespace.name)} belongs to {quote(owner)}"
        )
        return [violation("X02", key, message, f"use {quote(owner)}")]
    most = settings.max_length
    if most is not None and len(found) > most:
        message = f"the label {quote(label)} has {len(found)} characters, and {most} are allowed"
        return [violation("X03", key, message, "shorten it")]
    return []


def violation(rule: str, key: str, message: str, fix: str) -> Violation:
    return Violation(rule=rule, key=key, field="metadata.labels", message=message, fix=fix)
