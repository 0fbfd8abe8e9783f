"""The documents: generated blocks are up to date, nothing named is missing, no score is typed by hand."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from conftest import few_scenes, instead

from rumorlib import __main__ as cli
from rumorlib import config as cfg
from rumorlib import results
from rumorlib.__main__ import VERBS
from rumorlib.commands import readme, result_blocks
from rumorlib.data import posts
from rumorlib.data.batches import Batch
from rumorlib.data.drawn_scenes import drawn
from rumorlib.experiments import added, rivals
from rumorlib.models import named
from rumorlib.results import runs

ROOT = cfg.PROJECT_ROOT
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in readme.DOCUMENTS}
PATH = re.compile(r"[\w.-]+(/[\w.-]+)*")
SUFFIXES = {".py", ".md", ".csv", ".gz", ".json", ".yml", ".toml", ".lock", ".ipynb"}
# Files of a run or of the user's data folder: named in the text, absent from the project.
ELSEWHERE = {
    "corpus.toml",
    "captions_en.csv", "captions_zh.csv", "posts.csv", "manifest.csv", "manifest.json", "manifest.jsonl", "config.json",
    "report.json", "history.csv", "predictions.csv", "store.json", "runs.jsonl", ".gz",
    "text_mean.py", "predictions.csv.gz", "test_ledger.csv", "baseline/twitter/text_image_lr/seed0",
    "content.csv", "content_noid.csv", "weibo_content.csv", "dataset_flickr30k.json", "flickr_annotations_30k.csv",
    "results.csv",
}  # fmt: skip
MADE_LATER = ("results/demo/", "figures/demo", "output/")  # by `make demo`


def by_hand(text: str) -> str:
    """A document without its generated blocks."""
    return readme.BLOCK.sub("", text)


def fences(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def python_fence(name: str, part: str) -> str:
    """The one Python block of a document that has `part`."""
    (found,) = (code for code in [*fences(TEXTS[name], "python"), *fences(TEXTS[name], "py")] if part in code)
    return found


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def test_generated_blocks_are_up_to_date() -> None:
    old = [name for name, text in TEXTS.items() if readme.render(text, document=name) != text]
    assert not old, f"run: python -m rumorlib readme ({', '.join(old)})"


def test_every_block_is_shown_somewhere() -> None:
    shown = {block["name"] for text in TEXTS.values() for block in readme.BLOCK.finditer(text)}
    assert shown == set(readme.BLOCKS)


def test_the_readme_is_short_and_shows_one_table_and_one_picture() -> None:
    text = TEXTS["README.md"]
    assert len(text.splitlines()) <= 250 and len(text.encode()) <= 20_000
    block = next(found[0] for found in readme.BLOCK.finditer(text) if found["name"] == "headline")
    rows = [line for line in block.splitlines() if line.startswith("|")][2:]
    assert 1 <= len(rows) <= 12 and all(row.count("|") == 7 for row in rows)
    assert len(re.findall(r"!\[", text)) == 1


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere() -> None:
    wrong = []
    for name, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            place, _, anchor = target.partition("#")
            path = (ROOT / name).parent / place if place else ROOT / name
            if "://" not in target and not (
                path.exists() and (not anchor or anchor in anchors(path.read_text("utf-8")))
            ):
                wrong.append(f"{name}: {target}")
    assert not wrong, "\n".join(wrong)


def test_every_path_named_exists() -> None:
    wrong = []
    for name, text in TEXTS.items():
        for span in spans(text):
            is_path = PATH.fullmatch(span) and (span.count("/") or Path(span).suffix in SUFFIXES)
            places = (ROOT, ROOT / "rumorlib", (ROOT / name).parent)
            elsewhere = span in ELSEWHERE or span.startswith(MADE_LATER)
            if is_path and not elsewhere and not any((place / span).exists() for place in places):
                wrong.append(f"{name}: {span}")
    assert not wrong, "\n".join(wrong)


def test_every_make_target_and_verb_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    code = "\n".join(part for text in TEXTS.values() for part in [*spans(text), *fences(text, "sh")])
    targets = set(re.findall(r"^make ([a-z]+)", code, re.MULTILINE))
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert not [variable for variable in re.findall(r"\b([A-Z]+)=", code) if variable not in makefile]
    assert set(re.findall(r"-m rumorlib ([\w-]+)", code)) <= set(VERBS)


def test_the_nbval_command_is_the_makefiles() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    command = next(line for line in "\n".join(fences(TEXTS["README.md"], "sh")).splitlines() if "nbval" in line)
    assert command.split("-m pytest ")[1] in makefile


def test_no_score_is_typed_by_hand() -> None:
    wrong = []
    for name, text in TEXTS.items():
        text = re.sub(r"(arXiv |arxiv.org/abs/)[\d.]+|```.*?```|`[^`\n]+`", "", by_hand(text), flags=re.DOTALL)
        wrong += [f"{name}: {found}" for found in re.findall(r"(?<!\d)0?\.\d{2,}|\d\.\d+ ?%|\d\d\.\d", text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "code"),
    [(name, code) for name, text in TEXTS.items() for code in fences(text, "python")],
)
def test_python_blocks_run(name: str, code: str) -> None:
    assert f"<!-- runnable -->\n```python\n{code}" in TEXTS[name], "mark the block as runnable"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def example_class() -> str:
    return python_fence("README.md", "nn.Module")


def test_the_example_detector_keeps_the_contract() -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example_class(), "README.md", "exec", dont_inherit=True), names)
    ids = torch.tensor([[2, 5, 3], [2, 4, 0]])
    batch = Batch(ids, ids != 0, None, torch.zeros(2, 1, 1), torch.tensor([1.0, 0.0]), torch.ones(2), torch.arange(2))
    model = names["TextMean"](named.Given(torch.randn(8, 5), 4, (1, 1)))
    model.training_loss(batch)["loss"].backward()
    odds = named.log_odds(model, batch)
    assert odds.shape == (2,) and odds.dtype == torch.float64 and odds.isfinite().all()


def test_the_readmes_detector_is_one_file_and_one_line(
    few_drawn: cfg.Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text_mean.py").write_text(example_class(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    instead(monkeypatch, cfg.CORPORA, dict(cfg.CORPORA))
    names: dict[str, Any] = {}
    exec(compile(python_fence("README.md", "added.detector"), "README.md", "exec", dont_inherit=True), names)
    table, folder = names["table"], names["run"].path
    assert table["model"].tolist() == ["TextMean-dropout=0.3-epochs=5"] * 2 and table["split"].tolist() == [
        "dev",
        "test",
    ]
    assert table["n"].tolist() == [60, 60] and table["accuracy"].between(0, 1).all()
    assert (cfg.output_root() / "results" / "demo" / "runs" / folder / "DONE").is_file()
    again = added.detector(cfg.resolve(), "demo-en", "text_mean:TextMean", train={"epochs": 5}, dropout=0.3)
    assert again == names["run"] and names["report"].config.train.epochs == 5
    (tmp_path / "text_mean.py").write_text(example_class() + "# edited\n", encoding="utf-8")
    edited = added.detector(cfg.resolve(), "demo-en", "text_mean:TextMean", train={"epochs": 5}, dropout=0.3)
    with pytest.raises(runs.StaleRun, match="source"):
        results.run_or_load(edited, cfg.resolve())


def test_the_readmes_lines_make_a_detector_of_a_foreign_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    instead(monkeypatch, cfg.CORPORA, dict(cfg.CORPORA))
    words, verdicts = ("sharks", "trams"), ("fake", "true", "false", "true")
    codes = [hashlib.sha256(bytes([i])).hexdigest()[:30] for i in range(200)]  # no two texts alike
    lines = [f"{words[i % 2]} in {code},{verdicts[i % 4]}" for i, code in enumerate(codes)]
    (tmp_path / "posts.csv").write_text("\n".join(["tweet_text,verdict", *lines]), encoding="utf-8")
    (tmp_path / "new-posts.csv").write_text("tweet_text\nsharks in street 1\ntrams in street 2\n", encoding="utf-8")
    block = TEXTS["README.md"].split("## Your own posts")[1]
    commands = [shlex.split(line) for line in fences(block, "sh")[0].strip().splitlines()]
    assert len(commands) == 6
    done = [cli.main(command[command.index("rumorlib") + 1 :]) for command in commands]
    assert done == [0, 0, 1, 0, 0, 0], "few posts: train warns"
    with (tmp_path / "scored.csv").open(encoding="utf-8", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["1", "0"]
    capsys.readouterr()
    names: dict[str, Any] = {}
    exec(compile(fences(block, "py")[0], "README.md", "exec", dont_inherit=True), names)
    assert "calibrated" in capsys.readouterr().out


def test_a_detector_that_cannot_be_built_is_explained() -> None:
    given = named.Given(torch.zeros(4, 2), 3, (1, 1))
    with pytest.raises(ValueError, match="named <module>:<Class>"):
        cfg.DetectorConfig("no_colon")
    with pytest.raises(ValueError, match="cannot be imported"):
        named.build(cfg.DetectorConfig("rumorlib.models.named:Absent"), given)
    with pytest.raises(ValueError, match="training_loss and log_odds is needed"):
        named.build(cfg.DetectorConfig("torch.nn:Identity"), given)


class Odd(torch.nn.Module):
    """Annotations that users write."""

    def __init__(
        self, given: Any, sizes: list[int] | None = None, how: Literal[1, 2, "auto"] = 1, rate: float = None,  # noqa: RUF013
        width: Annotated[int, "units"] = 3, bare: list = (), other: Unknown = None, *, depth: int = 1, name: str = "x",  # noqa: F821
    ) -> None:  # fmt: skip
        super().__init__()

    training_loss = log_odds = None


class Held(torch.nn.Module):
    """Annotations that options are held to."""

    def __init__(self, given: Any, sizes: tuple[int, ...] = (1,), rate: float = None, *, depth: int = 1) -> None:  # noqa: RUF013
        super().__init__()


def test_options_are_held_to_plain_annotations_and_others_pass() -> None:
    given = {"sizes": [1, 2], "how": 2, "rate": None, "width": 4, "bare": [1], "other": "y", "depth": 2}
    assert named.options_of(Odd, given) == given
    assert named.options_of(Held, {"sizes": [1, 2], "rate": None}) == {"sizes": (1, 2), "rate": None}
    for wrong in ({"sizes": 3}, {"rate": "x"}, {"depth": 1.5}, {"dept": 1}):
        with pytest.raises(cfg.SettingError):
            named.options_of(Held, wrong)
    config = added.detector(cfg.resolve(), "demo-en", "rumorlib.models.others.safe:SAFE", kernel_sizes=[3, 4])
    assert config.variant == "SAFE-kernel_sizes=3-4" and hash(config)


class Sure(torch.nn.Module):
    """Log-odds of its batch's weights; `prob_rumor` beside them or alone, as detectors of before have it."""

    def __init__(self, alone: bool = False) -> None:
        super().__init__()
        if not alone:
            self.log_odds = lambda batch: batch.weight

    def prob_rumor(self, batch: Batch) -> torch.Tensor:
        return batch.weight.sigmoid()


def test_a_sure_detector_is_not_read_through_float32s_sigmoid() -> None:
    said = torch.tensor([-90.0, -17.5, 0.25, 17.0, 18.0, 90.0])
    batch = Batch(None, None, None, None, None, said, None)
    assert torch.equal(named.log_odds(Sure(), batch), said.double())
    read = named.log_odds(Sure(alone=True), batch)
    assert read.dtype == torch.float64 and read.isfinite().all()
    assert read[1:3].tolist() == pytest.approx([-17.5, 0.25], rel=1e-5)
    assert read[3:].tolist() == pytest.approx([36.04] * 3, abs=0.01), "float32 said exactly 1"


def test_the_readmes_changed_equation_stands_beside_the_usual_one(few_drawn: cfg.Settings) -> None:
    names: dict[str, Any] = {}
    exec(compile(python_fence("README.md", "lambda-0"), "README.md", "exec", dont_inherit=True), names)
    usual, changed = (run.detector.fusion_weight for run in names["runs"])
    assert changed == 0 < usual and len(names["table"]) == 4


def test_a_detector_trains_as_told_and_a_wrong_word_is_explained() -> None:
    settings = cfg.resolve()
    gru = "rumorlib.models.others.recurrent:GRU"
    usual, short = (added.detector(settings, "demo-en", gru, train=train) for train in (None, {"epochs": 1}))
    assert short.train == dataclasses.replace(usual.train, epochs=1) and usual.path != short.path
    with pytest.raises(cfg.SettingError, match="did you mean 'epochs'"):
        added.detector(settings, "demo-en", gru, train={"epoch": 1})
    with pytest.raises(cfg.SettingError, match="GRU has no option 'with', did you mean 'width'"):
        added.detector(settings, "demo-en", gru, **{"with": 9})
    with pytest.raises(cfg.SettingError, match=r"GRU\.width must be a whole number; got 'wide'"):
        added.detector(settings, "demo-en", gru, width="wide")
    with pytest.raises(cfg.SettingError, match=r"SAFE.dropout must be a number in \[0, 1\); got 2"):
        added.detector(settings, "demo-en", "rumorlib.models.others.safe:SAFE", dropout=2)


def test_choices_name_real_fields_and_artifacts() -> None:
    with (ROOT / "results" / "choices.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (ROOT / "results" / "index.csv").open(encoding="utf-8", newline="") as file:
        artifacts = {row["id"] for row in csv.DictReader(file)}
    classes = {name: f"rumorlib.models.others.{model}:{name}" for model, name in rivals.CLASSES.items()}
    assert [row["id"] for row in rows] == [f"C{number}" for number in range(1, len(rows) + 1)]
    for row in rows:
        assert row["question"] and row["choice"] and row["evidence"], row["id"]
        assert set(row["measured_in"].split()) <= artifacts, row["id"]
        for name in row["where"].split():
            owner, field = name.split(".")
            known = getattr(cfg, owner, None) or named.loaded(classes[owner])
            assert field in inspect.signature(known).parameters, f"{row['id']}: {name}"


def test_every_choice_named_in_the_code_is_listed() -> None:
    listed = set(re.findall(r"^(C\d+),", (ROOT / "results" / "choices.csv").read_text(encoding="utf-8"), re.MULTILINE))
    for path in (ROOT / "rumorlib").rglob("*.py"):
        named = set(re.findall(r"\bC[1-9]\d?\b", path.read_text(encoding="utf-8")))
        assert named <= listed, f"{path.name} names {named - listed}"


def test_the_datasheet_names_every_column_of_the_drawn_posts() -> None:
    table = drawn.load("en", config=few_scenes()).posts
    named = set(spans(TEXTS["rumorlib/data/DATASHEET.md"]))
    assert set(table.columns) - set(posts.COLUMNS) <= named
    assert set(table["split"]) <= named and set(table["conflict"]) <= named


def test_a_comparison_table_shows_test_rows_a_line_per_model_a_column_per_corpus() -> None:
    row = {"dataset": "d", "model": "m|n", "split": "test", "primary": "balanced_accuracy", "primary_value": "0.91234",
           "primary_low": "0.9", "primary_high": "0.95", "auc": "0.5", "n_seeds": "3"}  # fmt: skip
    other = row | {"dataset": "e", "model": "o", "n_seeds": "1"}
    fewer = row | {"model": "o", "n_seeds": "3"}
    shown = result_blocks.comparison_table([row | {"split": "dev", "model": "unseen"}, row, other]).splitlines()
    assert result_blocks.comparison_table([other, fewer]).splitlines()[2].startswith("| o (1 to 3 seeds) |")
    assert shown[0] == "| model | d: balanced accuracy · AUC | e: balanced accuracy · AUC |"
    assert shown[2:] == ["| m\\|n (3 seeds) | 0.912 [0.900, 0.950] · 0.500 | - |",
                         "| o | - | 0.912 [0.900, 0.950] · 0.500 |"]  # fmt: skip


def test_cells_cannot_become_html_or_columns() -> None:
    assert result_blocks.table(["a"], [["`<data>` <b> a|b"]]).splitlines()[2] == "| `<data>` &lt;b> a\\|b |"


def test_a_broken_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="no generated block is called 'nonsense'"):
        readme.render("<!-- generated: nonsense -->\n<!-- end -->\n")
    with pytest.raises(ValueError, match="has no <!-- end -->"):
        readme.render("<!-- generated: results -->\n")


def test_links_of_a_block_are_relative_to_its_document() -> None:
    text = "<!-- generated: notebooks -->\n<!-- end -->\n"
    assert "](notebooks/03_micc.ipynb)" in readme.render(text)
    assert "](../../notebooks/03_micc.ipynb)" in readme.render(text, document="rumorlib/data/README.md")


def test_check_tells_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    document = tmp_path / "README.md"
    document.write_text("old", encoding="utf-8")
    monkeypatch.setattr(readme, "DOCUMENTS", ("README.md",))
    instead(monkeypatch, cfg.PROJECT_ROOT, tmp_path)
    monkeypatch.setattr(readme, "render", lambda text, document: "new")
    assert readme.main(["--check"]) == 1 and document.read_text() == "old"
    assert "README.md: out of date" in capsys.readouterr().err
    assert readme.main([]) == 0 and document.read_text() == "new"
    assert readme.main(["--check"]) == 0


def test_what_no_paper_has_is_called_made() -> None:
    block = result_blocks.index_block(ROOT)
    assert re.search(r"`p_1` \| ours \| .*\[made\]\(results/laptop/tables/p_1.md\)", block)
    assert not re.search(r"\| ours \|[^\n]*\[reproduced\]", block)


def test_findings_that_longer_training_contradicts_stand_no_longer() -> None:
    text = " ".join(TEXTS["results/README.md"].split())
    for words in ("fusion weights hardly matter", "side by side do better than fused",
                  "least relevant patches do better", "needs both of its chains"):  # fmt: skip
        assert words not in text, words
