"""Every Service carries the labels that the settings require (X01).

The host calls `configure` with the settings before it asks about a Service. No state survives from one review to the next.
"""

import wit_world
from componentize_py_types import Err
from sallyport import logged, quote, verdict
from wit_world import Settings, exports
from wit_world.imports.description import About, Description
from wit_world.imports.review import Operation, Phase, Resource, Review
from wit_world.imports.verdict import SettingsError, Verdict, Violation

DEFAULTS = Settings(required_labels=["team"])

# `describe` is called before `configure`, too.
settings = DEFAULTS


class WitWorld(wit_world.WitWorld):
    @logged
    def defaults(self) -> Settings:
        """The settings that the manifest's are laid over: always these, and not those of `configure`."""
        return DEFAULTS

    @logged
    def configure(self, given: Settings) -> None:
        """Checks the settings. Those that can't be used are raised, as the list that the contract's `result` carries."""
        global settings
        errors = [
            SettingsError(f"requiredLabels[{i}]", "empty; name a label, such as team")
            for i, label in enumerate(given.required_labels)
            if label == ""
        ]
        if errors:
            raise Err(errors)
        settings = given


class Policy(exports.Policy):
    @logged
    def describe(self) -> Description:
        return Description(
            name="{{name}}",
            version="0.1.0",
            phases=[Phase.VALIDATING],
            operations=[Operation.CREATE, Operation.UPDATE],
            resources=[Resource.SERVICES],
            context=[],
            # No flag is set: it is asked about every Service.
            about=About(0),
            # The texts of strangers that the rule reads, such as `Compared_Label("exposed")`: recorded reviews keep these alone.
            compares=[],
        )

    @logged
    def validate(self, review: Review) -> Verdict:
        found = {key for key, _ in review.service.metadata.labels}
        return verdict([violation(label) for label in settings.required_labels if label not in found])

    @logged
    def mutate(self, review: Review) -> Verdict:
        """Patches nothing. It is called only if the description has the phase MUTATING."""
        return verdict()


def violation(label: str) -> Violation:
    return Violation(
        rule="X01",
        # Under this key an update may keep what was missing before.
        key=label,
        field="metadata.labels",
        message=f"the label {quote(label)} is missing",
        fix="add it",
    )
