"""Tests of the rule in plain Python, without the component: `python3 -m unittest`, or pytest.

The modules of types/ stand in for those that the component has, and log lines are printed.
"""

import sys
import typing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "types"))
if not hasattr(typing, "Self"):
    # Python 3.10. In the component the modules have a Python of their own.
    typing.Self = typing.Any

from wit_world.imports import log  # noqa: E402

log.log = lambda level, message: print(f"{level.name}: {message}")
