"""`python -m rumorlib <verb>`: one command line; each verb is a module with a `main(arguments) -> exit code`."""

from __future__ import annotations

import importlib
import os
import sys

VERBS = {
    "train": ("train_detector", "train a detector on posts of your own and save it as a folder"),
    "predict": ("predict", "ask a saved detector about a post, or about a file of them"),
    "explain": ("explain", "draw and say why a saved detector answered a post so"),
    "import": ("import_posts", "write a manifest from posts under other columns, in other encodings and shapes"),
    "check-data": ("check_data", "say what a folder of data holds, what is wrong with it and what is usable"),
    "plan": ("plan", "say which runs a call of run would make, what they read and how long it takes"),
    "run": ("execute", "run the notebooks of a profile and write its tables and figures"),
    "migrate": ("migrate", "carry a results folder of an earlier version over to this one"),
    "publish": ("publish", "put what the output folder holds of a profile in the place of the committed results"),
    "rebuild": ("rebuild", "make every committed table again from the committed runs; any difference fails"),
    "score": ("score", "score a file of predictions, also of outside systems, by the same protocol"),
    "readme": ("readme", "write the generated blocks of the README files; --check compares"),
}


def main(arguments: list[str]) -> int:
    """Hand the arguments after the verb to its module; return its exit code."""
    if not arguments or arguments[0] not in VERBS:
        lines = [f"  {verb:12} {purpose}" for verb, (_, purpose) in VERBS.items()]
        print("\n".join(["usage: python -m rumorlib <verb> [--help]", *lines]))
        asked_for_help = bool(arguments) and arguments[0] in ("-h", "--help")
        return 0 if asked_for_help else 2
    module, _ = VERBS[arguments[0]]
    try:
        if "RANK" in os.environ and int(os.environ.get("WORLD_SIZE") or 1) > 1:  # of accelerate launch
            return _together(module, arguments[1:])
        return importlib.import_module(f"rumorlib.commands.{module}").main(arguments[1:])
    except KeyboardInterrupt:
        print("\ninterrupted; finished runs are kept, the same command goes on from there", file=sys.stderr)
        return 130


def _together(module: str, words: list[str]) -> int:
    """The first process of a launch does what is asked; the others help it to train."""
    from rumorlib.data import processes

    processes.join()
    if processes.index():
        return importlib.import_module("rumorlib.results.produced").assist()
    code = importlib.import_module(f"rumorlib.commands.{module}").main(words)
    processes.agreed(None)
    return code


def command() -> int:
    """The script `rumorlib` of an installed package."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(command())
