"""The documents: generated blocks are up to date, nothing named is missing, no score is typed by hand."""

from __future__ import annotations

import ast
import csv
import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from rumorlib import added, inputs, profiles, results, runs
from rumorlib import config as cfg
from rumorlib.__main__ import VERBS
from rumorlib.commands import readme
from rumorlib.data import claims, drawn, posts
from rumorlib.data.batches import Batch
from rumorlib.models import named

ROOT = cfg.PROJECT_ROOT
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in readme.DOCUMENTS}
each_document = pytest.mark.parametrize("name", TEXTS)
PATH = re.compile(r"[\w.-]+(/[\w.-]+)*")
SUFFIXES = {".py", ".md", ".csv", ".gz", ".json", ".yml", ".toml", ".lock", ".ipynb"}
# Files of a run or of the user's data folder: named in the text, absent from the project.
ELSEWHERE = {
    "captions_en.csv", "captions_zh.csv", "posts.csv", "manifest.csv", "manifest.json", "manifest.jsonl", "config.json",
    "report.json", "history.csv", "predictions.csv", ".gz", "text_mean.py", "predictions.csv.gz", "test_ledger.csv",
    "content.csv", "weibo_content.csv", "dataset_flickr30k.json", "flickr_annotations_30k.csv", "results.csv",
}  # fmt: skip
MADE_LATER = ("results/demo/", "figures/demo", "output/")  # by `make demo`


def by_hand(text: str) -> str:
    """A document without its generated blocks."""
    return readme.BLOCK.sub("", text)


def fences(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@each_document
def test_generated_blocks_are_up_to_date(name: str) -> None:
    assert readme.render(TEXTS[name]) == TEXTS[name], "run: python -m rumorlib readme"


def test_every_block_is_shown_somewhere() -> None:
    shown = {block["name"] for text in TEXTS.values() for block in readme.BLOCK.finditer(text)}
    assert shown == set(readme.BLOCKS)


@each_document
def test_every_link_leads_somewhere(name: str) -> None:
    headings = re.findall(r"^#+ (.*)$", TEXTS[name], re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert ((ROOT / name).parent / target).exists(), f"{target} does not exist"


@each_document
def test_every_path_named_exists(name: str) -> None:
    for span in spans(TEXTS[name]):
        is_path = PATH.fullmatch(span) and (span.count("/") or Path(span).suffix in SUFFIXES)
        if not is_path or span in ELSEWHERE or span.startswith(MADE_LATER):
            continue
        places = (ROOT, ROOT / "rumorlib", (ROOT / name).parent)
        assert any((place / span).exists() for place in places), f"{span} does not exist"


@each_document
def test_every_make_target_and_verb_named_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    code = "\n".join([*spans(TEXTS[name]), *fences(TEXTS[name], "sh")])
    for target in re.findall(r"^make ([a-z]+)", code, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target {target}"
    for variable in re.findall(r"\b([A-Z]+)=", code):
        assert variable in makefile, f"the Makefile knows no {variable}"
    assert set(re.findall(r"-m rumorlib ([\w-]+)", code)) <= set(VERBS)


def test_the_nbval_command_is_the_makefiles() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    command = next(line for line in "\n".join(fences(TEXTS["README.md"], "sh")).splitlines() if "nbval" in line)
    assert command.split("-m pytest ")[1] in makefile


@each_document
def test_no_score_is_typed_by_hand(name: str) -> None:
    text = re.sub(r"arXiv [\d.]+|```.*?```|`[^`\n]+`", "", by_hand(TEXTS[name]), flags=re.DOTALL)
    assert not re.findall(r"(?<!\d)0?\.\d{2,}|\d\.\d+ ?%|\d\d\.\d", text)


@pytest.mark.parametrize("code", fences(TEXTS["README.md"], "python"), ids=lambda code: code.split("\n")[0])
def test_python_blocks_run(code: str) -> None:
    assert f"<!-- runnable -->\n```python\n{code}" in TEXTS["README.md"], "mark the block as runnable"
    ast.parse(code)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def example_class() -> str:
    return next(code for code in fences(TEXTS["README.md"], "python") if "nn.Module" in code)


def test_the_example_detector_keeps_the_contract() -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example_class(), "README.md", "exec", dont_inherit=True), names)
    ids = torch.tensor([[2, 5, 3], [2, 4, 0]])
    batch = Batch(ids, ids != 0, None, torch.zeros(2, 1, 1), torch.tensor([1.0, 0.0]), torch.ones(2), torch.arange(2))
    model = names["TextMean"](named.Given(torch.randn(8, 5), 4, (1, 1)))
    model.training_loss(batch)["loss"].backward()
    odds = named.log_odds(model, batch)
    assert odds.shape == (2,) and odds.dtype == torch.float64 and odds.isfinite().all()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, output: Path) -> Iterator[None]:
    """The demo profile on a few drawn scenes, with short training."""
    small = {"n_train": 120, "n_dev": 40, "n_test": 40, "n_unseen": 20, "n_pairs": 4, "n_undetectable": 20,
             "n_fingerprint": 20, "n_caption_scenes": 40}  # fmt: skip
    monkeypatch.setattr(drawn, "DrawnConfig", partial(claims.DrawnConfig, **small))
    sizes = profiles.SIZES["demo"]
    stage1, words = dataclasses.replace(sizes.stage1, epochs=1), dataclasses.replace(sizes.dmfl.word2vec, epochs=1)
    short = dataclasses.replace(sizes, stage1=stage1, dmfl=dataclasses.replace(sizes.dmfl, word2vec=words))
    monkeypatch.setitem(profiles.SIZES, "demo", short)
    kept = (inputs.corpus, inputs.captions, inputs.vocabulary)
    for function in kept:
        function.cache_clear()
    yield
    for function in kept:
        function.cache_clear()


def test_the_readmes_detector_is_one_file_and_one_line(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text_mean.py").write_text(example_class(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    line, _ = fences(TEXTS["README.md"], "py")
    exec(compile(line, "README.md", "exec", dont_inherit=True), names)
    table, folder = names["table"], names["run"].path
    assert table["model"].tolist() == ["TextMean-dropout=0.3"] * 2 and table["split"].tolist() == ["dev", "test"]
    assert table["n"].tolist() == [40, 40] and table["accuracy"].between(0, 1).all()
    assert (cfg.output_root() / "results" / "demo" / "runs" / folder / "DONE").is_file()
    again = added.detector(cfg.resolve(), "demo-en", "text_mean:TextMean", dropout=0.3)
    assert again == names["run"]
    (tmp_path / "text_mean.py").write_text(example_class() + "# edited\n", encoding="utf-8")
    edited = added.detector(cfg.resolve(), "demo-en", "text_mean:TextMean", dropout=0.3)
    with pytest.raises(runs.StaleRun, match="source"):
        results.run_or_load(edited, cfg.resolve())


def test_the_readmes_lines_train_on_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: Path) -> None:
    words = ("cat", "dog")
    lines = ["id,text,label,split"]
    lines += [f"p{i},a {words[i % 2]} of day {i},{i % 2},{('train', 'train', 'dev', 'test')[i % 4]}" for i in range(41)]
    lines += [f"q{i},a {words[i % 2]} at night {i},{i % 2},{('train', 'dev', 'test')[i % 3]}" for i in range(40)]
    (tmp_path / "my-folder").mkdir()
    (tmp_path / "my-folder" / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    _, code = fences(TEXTS["README.md"], "py")
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)
    report = names["report"]
    assert report.config.path.parts[:3] == ("dmfl", "manifest", "TTRAS") and report.folder.is_relative_to(output)
    test = report.predictions().query("split == 'test'")
    assert len(test) == report.metrics["test"]["n"] > 10 and test["prob_rumor"].between(0, 1).all()


def test_a_detector_that_cannot_be_built_is_explained() -> None:
    given = named.Given(torch.zeros(4, 2), 3, (1, 1))
    with pytest.raises(ValueError, match="named <module>:<Class>"):
        cfg.DetectorConfig("no_colon")
    with pytest.raises(ValueError, match="cannot be imported"):
        named.build(cfg.DetectorConfig("rumorlib.models.named:Absent"), given)
    with pytest.raises(ValueError, match="training_loss and log_odds is needed"):
        named.build(cfg.DetectorConfig("torch.nn:Identity"), given)


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


def test_choices_name_real_fields_and_artifacts() -> None:
    with (ROOT / "results" / "choices.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (ROOT / "results" / "index.csv").open(encoding="utf-8", newline="") as file:
        artifacts = {row["id"] for row in csv.DictReader(file)}
    assert [row["id"] for row in rows] == [f"C{number}" for number in range(1, len(rows) + 1)]
    for row in rows:
        assert row["question"] and row["choice"] and row["evidence"], row["id"]
        assert set(row["measured_in"].split()) <= artifacts, row["id"]
        for name in row["where"].split():
            owner, field = name.split(".")
            assert field in {f.name for f in dataclasses.fields(getattr(cfg, owner))}, f"{row['id']}: {name}"


def test_every_choice_named_in_the_code_is_listed() -> None:
    listed = set(re.findall(r"^(C\d+),", (ROOT / "results" / "choices.csv").read_text(encoding="utf-8"), re.MULTILINE))
    for path in (ROOT / "rumorlib").rglob("*.py"):
        named = set(re.findall(r"\bC[1-9]\d?\b", path.read_text(encoding="utf-8")))
        assert named <= listed, f"{path.name} names {named - listed}"


def test_the_datasheet_names_every_column_of_the_drawn_posts() -> None:
    config = claims.DrawnConfig(
        n_train=40,
        n_dev=20,
        n_test=20,
        n_unseen=20,
        n_pairs=4,
        n_undetectable=20,
        n_fingerprint=20,
        n_caption_scenes=10,
    )
    table = drawn.load("en", config=config).posts
    named = set(spans(TEXTS["rumorlib/data/DATASHEET.md"]))
    assert set(table.columns) - set(posts.COLUMNS) <= named
    assert set(table["split"]) <= named and set(table["conflict"]) <= named


def test_a_comparison_table_shows_test_rows_a_line_per_model_a_column_per_corpus() -> None:
    row = {"dataset": "d", "model": "m|n", "split": "test", "primary": "balanced_accuracy", "primary_value": "0.91234",
           "primary_low": "0.9", "primary_high": "0.95", "auc": "0.5", "n_seeds": "3"}  # fmt: skip
    other = row | {"dataset": "e", "model": "o", "n_seeds": "1"}
    fewer = row | {"model": "o", "n_seeds": "3"}
    shown = readme.comparison_table([row | {"split": "dev", "model": "unseen"}, row, other]).splitlines()
    assert readme.comparison_table([other, fewer]).splitlines()[2].startswith("| o (1 to 3 seeds) |")
    assert shown[0] == "| model | d: balanced accuracy · AUC | e: balanced accuracy · AUC |"
    assert shown[2:] == ["| m\\|n (3 seeds) | 0.912 [0.900, 0.950] · 0.500 | - |",
                         "| o | - | 0.912 [0.900, 0.950] · 0.500 |"]  # fmt: skip


def test_cells_cannot_become_html_or_columns() -> None:
    assert readme.table(["a"], [["`<data>` <b> a|b"]]).splitlines()[2] == "| `<data>` &lt;b> a\\|b |"


def test_a_broken_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="no generated block is called 'nonsense'"):
        readme.render("<!-- generated: nonsense -->\n<!-- end -->\n")
    with pytest.raises(ValueError, match="has no <!-- end -->"):
        readme.render("<!-- generated: results -->\n")


def test_check_tells_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    document = tmp_path / "README.md"
    document.write_text("old", encoding="utf-8")
    monkeypatch.setattr(readme, "DOCUMENTS", ("README.md",))
    monkeypatch.setattr(cfg, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(readme, "render", lambda text: "new")
    assert readme.main(["--check"]) == 1 and document.read_text() == "old"
    assert "README.md: out of date" in capsys.readouterr().err
    assert readme.main([]) == 0 and document.read_text() == "new"
    assert readme.main(["--check"]) == 0


def test_what_no_paper_has_is_called_made() -> None:
    block = readme.index_block(ROOT)
    assert re.search(r"`p_1` \| ours \| .*\[made\]\(results/laptop/tables/p_1.md\)", block)
    assert not re.search(r"\| ours \|[^\n]*\[reproduced\]", block)
