"""Missing runs: what is planned, in which order, side by side; what a failure stops; variants from the command line."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from joblib import parallel_config

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.commands import execute, plan, planning, sweep
from rumorlib.config import RunConfig, Settings
from rumorlib.experiments import plan as plans
from rumorlib.experiments import variants
from rumorlib.results import making, reports

CHAIN = "sclip", "micc", "exchange"


def chain(settings: Settings) -> dict[str, RunConfig]:
    """Stage 1, a detector on it, and a run made from that one, the last named first."""
    micc = experiments.micc(settings, "demo-en", classifier_input="product")
    last = replace(micc, kind="exchange", variant="exchanged", parent=micc)
    return {one.path.as_posix(): one for one in (last, micc, micc.stage1)}


def test_runs_come_after_what_they_start_from_and_stage_1_is_planned_once(few_untrained: Settings) -> None:
    asked = chain(few_untrained)
    todo = list(making.missing({name: asked[name] for name in list(asked)[:1]}, few_untrained))
    assert [name.split("/")[0] for name in todo] == ["sclip", "micc", "micc"] and set(todo) == set(asked)
    by_level = making.levels(asked)
    assert [len(level) for level in by_level] == [1, 1, 1]
    assert by_level[0][0].startswith("sclip") and by_level[2][0].startswith("micc/demo-en/exchanged")


def test_what_is_there_is_not_planned_unless_its_weights_are_asked_for(few_untrained: Settings) -> None:
    one = replace(experiments.baseline(few_untrained, "demo-en", "majority"), variant="there")
    asked = {one.path.as_posix(): one}
    assert set(making.missing(asked, few_untrained)) == set(asked)
    results.run_or_load(one, few_untrained)
    assert not making.missing(asked, few_untrained)
    assert set(making.missing(asked, replace(few_untrained, train="all"))) == set(asked)


def test_a_failed_run_stops_those_that_need_it_and_no_other(
    few_untrained: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(config: RunConfig, settings: Settings, wait: bool) -> None:
        if config.model == "sclip":
            raise MemoryError("no room")
        made.append(config.path.as_posix())

    monkeypatch.setattr(reports, "make", make)
    other = experiments.baseline(few_untrained, "demo-en", "majority")
    todo = chain(few_untrained) | {other.path.as_posix(): other}
    said = making.make(making.missing(todo, few_untrained), few_untrained)
    assert made == said.made == [other.path.as_posix()]
    failed = next(iter(said.failed))
    assert failed.startswith("sclip") and set(said.skipped.values()) == {failed} and len(said.skipped) == 2
    assert "2 runs need it" in making.summary(said) and "MemoryError: no room" in making.summary(said)


@pytest.mark.slow
def test_the_engine_and_the_number_of_workers_change_no_result(output: Path, tmp_path: Path) -> None:
    settings = cfg.resolve("demo", ["demo-en"])
    few = [replace(experiments.baseline(settings, "demo-en", kind), n_train=60)
           for kind in ("majority", "surface_lr", "tfidf_lr")]  # fmt: skip
    todo = {one.path.as_posix(): one for one in few}
    found = []
    for backend, workers in (("sequential", 1), ("loky", 2)):
        with pytest.MonkeyPatch.context() as patch, parallel_config(backend=backend):
            patch.setenv("RUMORLIB_OUTPUT", str(tmp_path / backend))
            patch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache" / backend))
            said = making.make(todo, settings, workers)
            assert sorted(said.made) == sorted(todo) and not said.failed
            found.append({one.variant: results.run_or_load(one, settings).fingerprint for one in few})
    assert found[0] == found[1]


def test_every_notebook_has_its_place_in_the_plan_and_laptop_is_all_there() -> None:
    assert set(plans.OF_NOTEBOOK) == {path.stem for path in execute.find([], execute.NOTEBOOKS)}
    committed = [name for name in plans.OF_NOTEBOOK if name[:2] not in ("07", "08", "11")]  # these read weights
    there = planning.planned(committed, {"profile": "laptop", "train": "none"})
    assert not there.missing and len(there.asked) > 800
    assert planning.lines(there) == [f"{len(there.asked)} runs, all there"]


def test_the_plan_says_what_runs_read_and_whether_it_is_there(tmp_path: Path, output: Path) -> None:
    given = {"profile": "laptop", "train": "none", "datasets": ["mfan-pheme"]}
    said = "\n".join(planning.lines(planning.planned(["03_micc"], given)))
    assert "corpus mfan-pheme: missing" in said and "weights all-MiniLM-L6-v2: missing" in said
    assert "sclip" in said and "to make" in said
    assert "<data>" not in "\n".join(planning.lines(planning.planned(["03_micc"], {"profile": "demo"})))


def test_on_a_bare_machine_the_paper_plan_says_what_goes_where_and_what_a_card_would_take(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan.main(["03", "04", "--profile", "paper", "--corpus", "weibo", "pheme"]) == 0
    said = capsys.readouterr().out
    weights = ("clip-vit-base-patch32", "bert-base-uncased", "bert-base-chinese", "vit-base-patch16-224")
    where = {f"weights {name}": f"weights/{name}" for name in weights}
    where |= {"corpus weibo": "weibo_jin2017", "corpus pheme": "pheme", "corpus flickr30k-en": "flickr30k",
              "corpus coco-cn-zh": "coco_cn"}  # fmt: skip
    for name, place in where.items():
        assert f"{name}: missing, looked for in <data>/{place}\n" in said
    assert re.search(r"Projected on one H100, \*unmeasured\*: at most \d+ (h|min) .*25% of 989 TFLOP/s", said)


def test_a_corpus_that_came_without_pictures_is_said_to(tmp_path: Path, output: Path) -> None:
    place = tmp_path / "weibo_jin2017"
    (place / "tweets").mkdir(parents=True)
    asked = planning.planned(["03_micc"], {"profile": "paper", "train": "none", "datasets": ["weibo"]})
    settings = replace(asked.settings, data_root=tmp_path)
    gone = f"corpus weibo: present, without pictures: put them below {place}"
    assert gone in planning.needs(asked.missing.values(), settings)
    (place / "rumor_images").mkdir()
    (place / "rumor_images" / "a.jpg").touch()
    assert "corpus weibo: present" in planning.needs(asked.missing.values(), settings)


def test_times_that_were_published_stand_in_for_runs_that_are_not_there(
    output: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = experiments.baseline(cfg.resolve("demo"), "demo-en", "majority")
    monkeypatch.setattr(making, "TIMES", str(tmp_path / "{}.csv"))
    making._history.cache_clear()
    assert making.expected(one) == (making.UNKNOWN_S, making.UNKNOWN_MIB)
    (tmp_path / "demo.csv").write_text("kind,model,dataset,seconds,mib\ntrain,baseline,demo-zh,7.5,900\n")
    making._history.cache_clear()
    assert making.expected(one) == (7.5, 900.0), "of the same kind, on another corpus"
    making._history.cache_clear()


def test_the_plan_looks_where_a_run_would_look_and_trains_nothing(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "mfan_pheme").mkdir(parents=True)
    monkeypatch.setenv("RUMORLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RUMORLIB_CORPORA", "")
    assert plan.main(["03", "--profile", "laptop", "--corpus", "mfan-pheme"]) == 0
    said = capsys.readouterr().out
    assert "corpus mfan-pheme: present" in said and "weights all-MiniLM-L6-v2: missing, looked for in" in said
    assert "again" not in said, "the committed stage 1 has no weights, but a plan trains nothing"


# --- variants -------------------------------------------------------------------------------------


def test_every_combination_is_a_named_variant() -> None:
    settings = replace(cfg.resolve("demo", ["demo-en"]), seeds=(0, 1))
    made = variants.variants(settings, {"dmfl.lambda_a": [1.0, 2.4], "train.batch_size": [32]})
    assert {one.model for one in made} == {"dmfl"} and len(made) == 2 * 3
    names = ["default", "lambda_a=1.0-train.batch_size=32", "lambda_a=2.4-train.batch_size=32"]
    assert list(dict.fromkeys(one.variant for one in made)) == names
    assert made[-1].detector.lambda_a == 2.4 and made[-1].train.batch_size == 32
    both = variants.variants(settings, {"train.lr": [1e-4]})
    assert {one.model for one in both} == {"micc", "dmfl"}
    inner = variants.variants(settings, {"dmfl.word2vec.window": [9]})[-1]
    assert inner.detector.word2vec.window == 9


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dmfl.lambda_aa": [1]}, "did you mean 'lambda_a'"),
        ({"dmlf.lambda_a": [1]}, "did you mean 'dmfl'"),
        ({"micc.top_k": [0]}, "MICCConfig.top_k must be a whole number"),
        ({"micc": [1]}, "write one of micc.<field>"),
        ({"train.lr.x": [1]}, "has no field 'x'"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_runs(asked: dict, message: str) -> None:
    with pytest.raises(cfg.SettingError, match=message):
        variants.variants(cfg.resolve("demo"), asked)


def test_a_sweep_from_the_command_line(few_untrained: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set", "train.epochs=1", "micc.top_k=1,3", "-p", "datasets=[demo-en]", "--workers", "1"]
    assert execute.main(words) == 0
    said = capsys.readouterr().out
    assert "top_k=1" in said and "top_k=3" in said and "default" in said
    kept = [json.loads(path.read_text()) for path in cfg.output_root().rglob("micc/**/config.json")]
    assert {one["detector"]["top_k"] for one in kept} == {1, 2, 3}
    assert execute.main(["03", "--set", "micc.top_k=1"]) == 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"micc.top_k": list(range(1, 201)), "micc.fusion_weight": [i / 100 for i in range(101)]},
            "20200 combinations",
        ),
        ({"dmfl.word2vec.vectors": ["a/b", "a_b"]}, "vectors=a_b"),
        ({"dmfl.word2vec.vectors": ["x" * 300]}, "longer than"),
        ({"dmfl.word2vec.vectors": ["a\nb"]}, "cannot name a folder"),
    ],
)
def test_combinations_that_are_too_many_or_cannot_be_told_apart_are_refused(asked: dict, message: str) -> None:
    with pytest.raises(cfg.SettingError, match=message):
        variants.variants(cfg.resolve("demo", ["demo-en"]), asked)


def test_one_value_written_in_two_ways_is_one_variant_and_the_grid_decides_the_seeds() -> None:
    made = sweep.planned({"dmfl.lambda_a": [1, 1.0]}, {"profile": "demo", "grid": "full", "datasets": ["demo-en"]})
    names = ["default"] * 3 + ["lambda_a=1.0"] * 3
    assert [one.variant for one in made.asked.values()] == names


def test_no_more_workers_than_cores_or_runs(few_untrained: Settings) -> None:
    todo = {str(n): replace(experiments.baseline(few_untrained, "demo-en", "majority"), n_train=n) for n in (1, 2)}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert making.workers_for(todo, 1000) == min(2, cores) and making.workers_for(todo, 1) == 1


def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(
    few_untrained: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert execute.main(["01", "--runs-only", "--workers", "1"]) == 2
    assert "Read-only file system" in capsys.readouterr().err
    assert not list(cfg.output_root().rglob("DONE"))
