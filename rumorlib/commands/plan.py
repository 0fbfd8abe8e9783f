"""What a call of `run` would make: `python -m rumorlib plan [01 03 ...] --profile laptop --data DIR`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rumorlib import config as cfg
from rumorlib.commands import execute, planning
from rumorlib.results import runs


def main(words: Sequence[str]) -> int:
    """Command line; returns the exit code: 0, 2 wrong arguments or stored runs that do not fit."""
    arguments = execute.parser("plan", __doc__.split("\n")[0]).parse_args(words)
    try:
        arguments.train = arguments.train or "none"  # whether data are there is an answer, not a condition
        names, given = execute.asked(arguments)
        data = os.environ.get("RUMORLIB_DATA") if given.get("profile", "demo") != "demo" else None
        found = planning.planned(names, given, arguments.data or data)
    except (cfg.SettingError, KeyError, FileNotFoundError, runs.RunError) as error:
        print(error.args[0] if isinstance(error, KeyError) else error, file=sys.stderr)
        return 2
    print("\n".join(planning.lines(found, arguments.workers)))
    return 0
