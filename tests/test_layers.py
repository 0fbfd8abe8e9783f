"""The package's shape: each module imports only from its left, the core needs few libraries, nothing unsafe is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from rumorlib import config as cfg

PACKAGE = cfg.PROJECT_ROOT / "rumorlib"
MODULES = sorted(PACKAGE.rglob("*.py"))
# From posts to figures; rumorlib/README.md draws them. A room imports only from its left.
ROOMS = ("config", "data", "encoders", "models", "metrics", "experiments", "inputs", "training", "results", "studies",
         "figures", "commands")  # fmt: skip
LONGEST_MODULE, LONGEST_FUNCTION = 320, 40  # lines; functions without their docstring
UNPICKLER = (
    "data/readers/event_ids.py"  # the one module that reads pickles, through an Unpickler that builds numbers only
)
OPTIONAL = (
    "captum",
    "gensim",
    "seaborn",
    "torchao",
    "jupyterlab",
    "ipykernel",
    "IPython",
    "ipywidgets",
    "papermill",
    "nbformat",
    "nbval",
    "nbclient",
)


def module_of(path: Path) -> str:
    """Dotted name of a file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, wherever in it the import stands."""
    known, found = {module_of(each) for each in MODULES}, set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rumorlib":
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (whole & known) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "rumorlib"}
    return found - {"rumorlib"}


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def names(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_the_folder_listing_is_the_architecture() -> None:
    listed = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix in ("", ".py")}
    assert listed - {"__init__", "__main__", "__pycache__"} == set(ROOMS) and len(ROOMS) <= 12
    drawn = re.findall(r"^(\w+)/ ", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert tuple(drawn) == ROOMS, "the picture in rumorlib/README.md has other rooms, or another order"


def test_a_room_imports_only_from_its_left() -> None:
    wrong = []
    for path in MODULES:
        own, *rest = path.relative_to(PACKAGE).parts
        if not rest:
            continue
        right = ROOMS[ROOMS.index(own) + 1 :]
        wrong += [f"{names(path)} imports {name}" for name in imported(path) if name.split(".")[1] in right]
    assert not wrong, "\n".join(wrong)


def test_no_module_needs_itself() -> None:
    needs = {module_of(path): imported(path) for path in MODULES}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(f"these import one another: {' <- '.join(error.args[1])}")


@cache
def every_node() -> list[tuple[Path, ast.AST, str]]:
    """Each module, each node of its tree, and where it stands."""
    return [(path, node, f"{names(path)}:{getattr(node, 'lineno', 0)}")
            for path in MODULES for node in ast.walk(parse(path))]  # fmt: skip


def test_no_relative_or_star_import_and_no_catch_all_module() -> None:
    wrong = [names(path) for path in MODULES if path.stem in ("utils", "util", "helpers", "common", "misc")]
    for _, node, where in every_node():
        if isinstance(node, ast.ImportFrom) and (node.level or node.names[0].name == "*"):
            wrong.append(where)
    assert not wrong, "\n".join(wrong)


def test_sizes() -> None:
    lengths = {names(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    wrong = [f"{name} has {length} lines" for name, length in lengths.items() if length > LONGEST_MODULE]
    for _, node, where in every_node():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = node.end_lineno - first.lineno + 1
            wrong += [f"{where}: {node.name} has {length} lines"] * (length > LONGEST_FUNCTION)
    assert not wrong, "\n".join(wrong)


def test_public_functions_say_what_they_do() -> None:
    wrong = []
    for path in MODULES:
        tree = parse(path)
        public = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != "_"]
        wrong += [f"{names(path)}: {node.name}" for node in public if not ast.get_docstring(node)]
        wrong += [names(path)] * (bool(tree.body) and not ast.get_docstring(tree))  # an __init__.py may be empty
    assert not wrong, f"no docstring: {', '.join(wrong)}"


def test_nothing_can_run_code_from_a_data_file() -> None:
    unsafe = {"pickle", "joblib", "dill", "shelve"}
    wrong = []
    for path, node, where in every_node():
        found: set[object] = set()
        if isinstance(node, ast.Import):
            found = {alias.name.split(".")[0] for alias in node.names} & unsafe
            found -= {"pickle"} if names(path) == UNPICKLER else set()
        elif isinstance(node, ast.ImportFrom):
            found = {(node.module or "").split(".")[0]} & unsafe
            taken = {alias.name for alias in node.names}
            # joblib.load would unpickle a file; running functions side by side reads none
            found -= (
                {"joblib"} if taken <= {"Parallel", "delayed", "parallel_config", "get_reusable_executor"} else set()
            )
        elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            found = {(node.arg, node.value.value)} & {("weights_only", False), ("allow_pickle", True),
                                                      ("trust_remote_code", True), ("shell", True)}  # fmt: skip
        elif isinstance(node, ast.Attribute):
            found = {node.attr} & {"read_pickle", "to_pickle", "LOAD_TRUNCATED_IMAGES", "unsafe_load"}
        elif isinstance(node, ast.Name):
            found = {node.id} & {"eval", "exec"}
        wrong += [f"{where}: {each}" for each in found]
    assert not wrong, "\n".join(wrong)


def test_the_one_unpickler_is_a_restricted_one() -> None:
    tree = parse(PACKAGE / UNPICKLER)
    used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == "pickle"}
    assert used == {"Unpickler", "UnpicklingError"}
    subclasses = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.bases]
    assert len(subclasses) == 1
    assert {"find_class", "persistent_load"} <= {n.name for n in subclasses[0].body if isinstance(n, ast.FunctionDef)}


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cfg.PROJECT_ROOT, capture_output=True, text=True)


def test_the_first_imports_are_light() -> None:
    heavy = "{'torch', 'pandas', 'numpy', 'sklearn', 'transformers', 'matplotlib'}"
    done = python(f"import sys, rumorlib, rumorlib.config; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_module_imports_without_the_optional_libraries() -> None:
    modules = [f"rumorlib.{names(p)[:-3].replace('/', '.')}" for p in MODULES if "__" not in p.name]
    code = f"""
import importlib, sys
blocked = {OPTIONAL!r}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocker())
for name in {modules!r}:
    importlib.import_module(name)
late = [name for name in ("torchvision", "transformers", "matplotlib.pyplot") if name in sys.modules]
assert not late, f"imported at import time: {{late}}"
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


def tracked_texts() -> list[Path]:
    """Text files that are in git or would be."""
    command = ["git", "-C", str(cfg.PROJECT_ROOT), "ls-files", "-co", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    paths = [cfg.PROJECT_ROOT / line for line in done.stdout.splitlines()]
    return [path for path in paths if path.is_file() and path.suffix not in (".png", ".gz", ".xz", ".jpg", ".pdf")]


def test_no_path_of_somebodys_machine() -> None:
    folders = "|".join(("work", "root", "home", "Users", "mnt", "opt", "tmp"))
    pattern = re.compile(rf"(?<![\w.<>~*)\]}}-])/(?:{folders})/|\b[A-Z]:\\\\?[A-Za-z]")
    found = [
        f"{path.relative_to(cfg.PROJECT_ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked_texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_secret() -> None:
    pattern = re.compile(r"(gh[pousr]_\w{30}|AKIA\w{16}|-----BEGIN [A-Z ]*PRIVATE KEY|hf_\w{30}|sk-\w{30})")
    picture = re.compile(r'"image/png": "[^"]*"')  # of an executed notebook: long enough to hold any four letters
    texts = {path: picture.sub("", path.read_text(encoding="utf-8")) for path in tracked_texts()}
    assert not [path for path, text in texts.items() if pattern.search(text)]
