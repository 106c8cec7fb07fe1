"""Helpers for policies: verdicts, patches, texts of strangers, and exceptions that say where they come from."""

import functools
import json
from collections.abc import Callable, Iterable

from componentize_py_types import Err
from wit_world.imports import log
from wit_world.imports.verdict import PatchOperation, PatchOperation_Add, PatchValue, Verdict, Violation


def verdict(
    violations: Iterable[Violation] = (), warnings: Iterable[str] = (), patch: Iterable[PatchOperation] = ()
) -> Verdict:
    """What a verdict does not say is empty."""
    return Verdict(violations=list(violations), warnings=list(warnings), audit_annotations=[], patch=list(patch))


def add(path: str, value) -> PatchOperation_Add:
    """An operation of a patch that adds a value, or replaces it."""
    return PatchOperation_Add(PatchValue(path, json.dumps(value, ensure_ascii=False)))


def pointer(key: str) -> str:
    """A key as a JSON Pointer writes it (RFC 6901): f"/metadata/labels/{pointer(key)}"."""
    return key.replace("~", "~0").replace("/", "~1")


def get(pairs: list[tuple[str, str]], key: str) -> str | None:
    """The value of a key in a list of pairs, such as labels."""
    return next((value for found, value in pairs if found == key), None)


def quote(text: str) -> str:
    """A value as a message shows it: in quotes, escaped, cut after 64 characters.

    The author of a Service must not be able to forge a line of a log or to hide a part of a message.
    """
    shown = 64

    def escaped(c: str) -> str:
        if c in '"\\':
            return "\\" + c
        return c if " " <= c <= "~" else f"\\u{{{ord(c):x}}}"

    return '"' + "".join(map(escaped, text[:shown])) + ("…" if len(text) > shown else "") + '"'


def logged(run: Callable) -> Callable:
    """Logs what a policy's function raises, with file and line. Without this, an exception is a trap that says nothing."""

    @functools.wraps(run)
    def guarded(*arguments):
        try:
            return run(*arguments)
        except Err:
            raise
        except Exception as error:
            # The module traceback would look for the source on a disk, and there is none.
            place = error.__traceback__
            while place.tb_next:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
            log.log(log.Level.ERROR, f"{run.__name__}: {error!r}, {where}")
            raise

    return guarded
