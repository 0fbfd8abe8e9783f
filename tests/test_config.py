"""Values are checked where they enter: every field has a type and a range, every name a list and a nearest guess."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import random
import re
import shutil
import typing
from pathlib import Path
from typing import Any

import pytest
from conftest import instead

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.commands import check_data, execute, readme, rebuild, score
from rumorlib.config import profiles
from rumorlib.data import corpora
from rumorlib.experiments import rivals
from rumorlib.results import runs, store
from rumorlib.studies.scores import comparison

CONFIGS = sorted(
    (kind for _, kind in inspect.getmembers(cfg, inspect.isclass)
     if dataclasses.is_dataclass(kind) and kind.__module__.startswith(cfg.__name__) and kind is not cfg.Range),
    key=lambda kind: kind.__name__,
)  # fmt: skip
NEEDED = {"kind": "majority", "path": "a:B", "model": "micc", "dataset": "demo-en", "profile": "demo",
          "datasets": ("demo-en",), "seeds": (0,), "name": "mine"}  # fmt: skip


def made(kind: type, /, **given: Any) -> Any:
    """An instance: fields without a default as in NEEDED."""
    needed = {f.name: NEEDED[f.name] for f in dataclasses.fields(kind)
              if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}  # fmt: skip
    return kind(**needed | given)


def leaves(hint: Any, ranged: bool = False) -> list[tuple[Any, bool]]:
    """Every type inside an annotation, and whether a range is declared for it."""
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        return leaves(inner[0], True)
    if typing.get_origin(hint) is typing.Literal or not inner:
        return [(hint, ranged)]
    return [leaf for each in inner if each is not ... for leaf in leaves(each)]


def test_every_field_has_a_type_and_every_number_a_range() -> None:
    wrong = [kind.__name__ for kind in CONFIGS if not issubclass(kind, cfg.Checked)]
    for kind in CONFIGS:
        hints = typing.get_type_hints(kind, include_extras=True)
        for name in (field.name for field in dataclasses.fields(kind)):
            numbers = [ranged for leaf, ranged in leaves(hints[name]) if leaf in (int, float)]
            refused = [object(), {1}, *((float("nan"), float("inf"), True, -(10**9), "two") if numbers else ())]
            taken = [value for value in refused if not refuses(kind, name, value)]
            wrong += [f"{kind.__name__}.{name}: no range, or takes {taken}"] * bool(taken or not all(numbers))
    assert not wrong, "\n".join(wrong)


def refuses(kind: type, name: str, value: Any) -> bool:
    """Whether a config says by its own name that a field cannot be this."""
    try:
        made(kind, **{name: value})
    except cfg.SettingError as error:
        return str(error).startswith(f"{kind.__name__}.{name} must be ")
    return False


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (cfg.DMFLConfig, {"lambda_a": -1}, "DMFLConfig.lambda_a must be a number of at least 0; got -1"),
        (cfg.DMFLConfig, {"lambda_a": "two"}, "DMFLConfig.lambda_a must be a number of at least 0; got 'two'"),
        (cfg.MICCConfig, {"top_k": 2.5}, "MICCConfig.top_k must be a whole number of at least 1; got 2.5"),
        (cfg.MICCConfig, {"top_k": True}, "MICCConfig.top_k must be a whole number of at least 1; got True"),
        (cfg.MICCConfig, {"fusion_weight": 1.01}, "MICCConfig.fusion_weight must be a number in [0, 1]; got 1.01"),
        (cfg.MICCConfig, {"dropout": 1}, "MICCConfig.dropout must be a number in [0, 1); got 1"),
        (cfg.MICCConfig, {"fusion": "scale-aware"}, "did you mean 'scale_aware'?"),
        (cfg.TrainConfig, {"optimizer": "adamx"}, "TrainConfig.optimizer must be one of 'adamw', 'adam'; got 'adamx'"),
        (cfg.TrainConfig, {"lr": 1.0}, "TrainConfig.lr must be a number in (0, 1); got 1.0"),
        (cfg.TrainConfig, {"patience": 0}, "must be a whole number of at least 1 or None; got 0"),
        (cfg.SCLIPConfig, {"mask_twins": 1}, "SCLIPConfig.mask_twins must be True or False; got 1"),
        (cfg.VisionConfig, {"receptive_fields": (32, 0)}, "each a whole number of at least 1; got (32, 0)"),
        (cfg.VisionConfig, {"receptive_fields": "32"}, "VisionConfig.receptive_fields must be a list"),
        (cfg.VisionConfig, {"receptive_fields": ()}, "VisionConfig.receptive_fields must be a list"),
        (cfg.BaselineConfig, {"kind": "tfidf"}, "did you mean 'tfidf_lr'?"),
        (cfg.RunConfig, {"seed": -1}, "RunConfig.seed must be a whole number in [0, 4294967295]"),
        (cfg.RunConfig, {"model": "mic"}, "did you mean 'micc'?"),
        (cfg.RunConfig, {"detector": cfg.TrainConfig()}, "RunConfig.detector must be"),
        (cfg.SCLIPConfig, {"texts": (("en", 3),)}, "SCLIPConfig.texts must be"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name_with_what_is_allowed(kind: type, given: dict, message: str) -> None:
    with pytest.raises(cfg.SettingError) as error:
        made(kind, **given)
    assert message in str(error.value)


def test_a_change_of_a_variant_is_checked_too() -> None:
    with pytest.raises(cfg.SettingError, match=r"MICCConfig\.top_k"):
        experiments.micc(cfg.resolve("demo"), "demo-en", top_k=2.5)
    with pytest.raises(cfg.SettingError, match=r"DMFLConfig\.lambda_a"):
        experiments.dmfl(cfg.resolve("demo"), "demo-en", lambda_a=-1)


def test_a_whole_number_for_a_fraction_is_the_same_run() -> None:
    one, other = cfg.MICCConfig(fusion_weight=1), cfg.MICCConfig(fusion_weight=1.0)
    assert json.dumps(cfg.as_dict(one)) == json.dumps(cfg.as_dict(other)) and isinstance(one.fusion_weight, float)
    assert cfg.VisionConfig(receptive_fields=[16, 32]) == cfg.VisionConfig(receptive_fields=(16, 32))


def test_every_committed_config_is_read_and_keeps_its_hash() -> None:
    entries = store.entries(cfg.PROJECT_ROOT / "results" / "laptop" / "store")
    assert len(entries) > 500
    for name, entry in entries.items():
        config = cfg.from_dict(entry["config"])
        assert cfg.as_dict(config) == entry["config"] and config.path.as_posix() == name
        assert cfg.config_hash(config) == entry["report"]["config_hash"], name


def test_a_stored_config_with_a_field_this_version_lacks_is_an_error() -> None:
    stored = cfg.as_dict(experiments.micc(cfg.resolve("demo"), "demo-en"))
    with pytest.raises(cfg.SettingError, match=r"no field 'sede', did you mean 'seed'\?"):
        cfg.from_dict({**stored, "sede": 1})


# --- what a notebook or command works on ----------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": "0,1"}, "each a whole number in [0, 4294967295] or None; got '0,1'"),
        ({"seeds": [-1]}, "each a whole number in [0, 4294967295] or None; got [-1]"),
        ({"seeds": ["0"]}, "seeds must be a list"),
        ({"seeds": [0.5]}, "seeds must be a list"),
        ({"seeds": [True]}, "seeds must be a list"),
        ({"seeds": [2**32]}, "seeds must be a list"),
        ({"seeds": []}, "seeds must be a list of one or more"),
        ({"seeds": [0, 1, 0]}, "seeds names 0 twice"),
        ({"datasets": ["demo-en", "demo-en"]}, "datasets names 'demo-en' twice"),
        ({"datasets": "demo-en"}, "datasets must be a list"),
        ({"datasets": ["demo-eng"]}, "did you mean 'demo-en'?"),
        ({"datasets": []}, "datasets must be a list of one or more"),
        ({"profile": "labtop"}, "one of 'demo', 'laptop', 'paper'; got 'labtop', did you mean 'laptop'?"),
        ({"train": "non"}, "did you mean 'none'?"),
        ({"grid": "ful"}, "did you mean 'full'?"),
        ({"grid": 1}, "grid must be one of"),
        ({"sweep": "yes"}, "sweep must be True or False"),
        ({"data": "somewhere"}, "profile demo reads no data folder"),
    ],
)  # fmt: skip
def test_resolve_refuses_what_is_no_setting(given: dict[str, Any], message: str) -> None:
    with pytest.raises(cfg.SettingError) as error:
        cfg.resolve(**given)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_resolve_keeps_the_data_folder_it_is_given(tmp_path: Path) -> None:
    for train in cfg.TRAIN_MODES:
        assert cfg.resolve("laptop", train=train, data=str(tmp_path)).data_root == tmp_path
    for wrong in (tmp_path / "nowhere", 3):
        with pytest.raises((cfg.SettingError, FileNotFoundError)):
            cfg.resolve("laptop", train="none", data=wrong)


@pytest.mark.parametrize("variable", ["RUMORLIB_OUTPUT", "RUMORLIB_CACHE"])
def test_a_place_that_cannot_be_written_is_refused_at_once(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv(variable, str(wrong))
        with pytest.raises(cfg.SettingError, match=f"{variable}.*is no folder"):
            cfg.resolve("demo")
    monkeypatch.setenv(variable, str(tmp_path / "new" / "folder"))
    cfg.resolve("demo")
    assert not (tmp_path / "new").exists(), "checked, not made"
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(cfg.SettingError, match="cannot be written"):
        cfg.resolve("demo")
    cfg.resolve("demo", train="none")  # reads only


# --- the command line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "words", "message"),
    [
        (execute.main, ["--profile", "demo", "--profile", "laptop"], "--profile: given twice, 'demo' and 'laptop'"),
        (execute.main, ["--profile", "demo", "-p", "profile=laptop"], "--profile demo and -p profile=laptop"),
        (execute.main, ["--seeds", "0"], "unrecognized arguments"),
        (execute.main, ["--prof", "demo"], "unrecognized arguments"),
        (execute.main, ["--profile", "labtop"], "did you mean 'laptop'?"),
        (execute.main, ["01", "-p", "datasets=[demo-eng]"], "did you mean 'demo-en'?"),
        (execute.main, ["01", "-p", "seeds=[-1]"], "seeds must be a list"),
        (execute.main, ["01", "--data", "."], "profile demo reads no data folder"),
        (execute.main, ["01", "-f", "nowhere.yaml"], "nowhere.yaml"),
        (execute.main, ["1x"], "notebooks match '1x'"),
        (execute.main, ["--only", "m_e22"], "did you mean 'm_e2'?"),
        (execute.main, ["--start-timeout", "0"], "--start-timeout"),
        (rebuild.main, ["--profile", "laptop", "--profile", "paper"], "given twice"),
        (rebuild.main, ["nowhere"], "notebooks match 'nowhere'"),
        (check_data.main, [".", "--layout", "manifset"], "did you mean 'manifest'?"),
        (check_data.main, [".", "--out", "a", "--out", "b"], "given twice"),
        (score.main, ["a.csv", "--labels", "b.csv", "--labels", "c.csv"], "given twice"),
        (readme.main, ["--chek"], "unrecognized arguments"),
    ],
)  # fmt: skip
def test_wrong_words_end_in_one_line_and_exit_code_2(
    main: Any, words: list[str], message: str, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(words)
    except SystemExit as stopped:
        code = stopped.code
    shown = capsys.readouterr()
    assert code == 2 and message in shown.err and shown.err.count("\n") == 1, shown.err
    assert not output.exists()


def test_an_output_that_is_a_file_ends_before_a_kernel_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUMORLIB_OUTPUT", "")  # restored afterwards
    monkeypatch.setattr(execute, "_one", lambda *_: pytest.fail("a kernel was started"))
    (tmp_path / "file").write_text("")
    assert execute.main(["01", "--output", str(tmp_path / "file")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_a_parameter_twice_in_a_file_is_an_error(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text("seeds: [0]\nseeds: [1]\n")
    assert execute.main(["01", "-f", str(tmp_path / "p.yaml")]) == 2
    assert "seeds" in (shown := capsys.readouterr().err) and "twice" in shown and shown.count("\n") == 1


# --- corpora ----------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with a manifest of texts, and records that are forgotten after the test."""
    instead(monkeypatch, cfg.CORPORA, dict(cfg.CORPORA))
    monkeypatch.setenv("RUMORLIB_CORPORA", "")
    monkeypatch.setenv("RUMORLIB_DATA", "")
    folder = tmp_path / "mine"
    folder.mkdir()
    draw, letters = random.Random(0), "abcdefghijklmnopqrstuvwxyz"
    said = [" ".join("".join(draw.choices(letters, k=5)) for _ in range(6)) for _ in range(40)]  # no near-duplicates
    lines = [f"p{i},{words} {'shark' if i % 2 else 'rain'},{i % 2}" for i, words in enumerate(said)]
    (folder / "manifest.csv").write_text("\n".join(["id,text,label", *lines]) + "\n")
    return folder


def test_posts_of_ones_own_are_a_dataset_by_name_and_folder(own: Path) -> None:
    for profile in cfg.PROFILES:  # laptop and paper without a data folder: nothing in it is read
        settings = cfg.resolve(profile, [f"mine={own}"])
        assert settings.datasets == ("mine",) and settings.data_root is None
        assert settings.text_only == ("mine",), "no picture lies in the folder"
    record = cfg.record("mine")
    assert record.own and record.language == "en" and record.lambda_c == 1.8 and record.reported == "pheme"
    (own / "images").mkdir()
    (own / "images" / "a.jpg").write_bytes(b"")
    assert cfg.own_corpus("mine", own).pictures


def test_the_record_may_stand_beside_the_posts(own: Path) -> None:
    told = 'language = "zh"\nlabel_means = "spam (0 = ham)"\nprotocol = "random:1"\nevents = true\n'
    (own / cfg.RECORD_FILE).write_text(told)
    settings = cfg.resolve("laptop", [f"mine={own}"])
    record, run = cfg.record("mine"), experiments.baseline(settings, "mine", "tfidf_lr")
    assert (record.lambda_c, record.reported, record.events) == (1.2, "weibo", True)
    assert run.language == "zh" and run.protocol == "random:1", "what decides a result stands in the run's config"
    assert corpora.load("mine", settings).label_means == "spam (0 = ham)"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ('languge = "zh"', "no field 'languge', did you mean 'language'?"),
        ('language = "fr"', "CorpusRecord.language must be one of 'en', 'zh'; got 'fr'"),
        ("lambda_c = -1", "CorpusRecord.lambda_c must be a number of at least 0"),
        ("shared_pictures = true", "no field 'shared_pictures'"),
        ("language = zh", "corpus.toml"),
    ],
)
def test_a_wrong_record_is_refused(own: Path, told: str, message: str) -> None:
    (own / cfg.RECORD_FILE).write_text(told)
    with pytest.raises(cfg.SettingError) as error:
        cfg.resolve("laptop", [f"mine={own}"])
    assert message in str(error.value) and str(own) in str(error.value)


def test_a_name_is_one_folder(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg.resolve("demo", [f"mine={own}"])
    assert cfg.resolve("demo", ["mine", "demo-en"]).datasets == ("mine", "demo-en"), "known from now on"
    for entry, message in (
        (f"mine={tmp_path}", "mine is the posts in"), (f"twitter={own}", "twitter is another corpus"),
        (f"mine={own / 'gone'}", "does not exist"), ("mine=", "write mine=<folder>"),
        (f"a b={own}", "named by letters"), ("mime", "did you mean 'mine'?"),
    ):  # fmt: skip
        with pytest.raises(cfg.SettingError, match=re.escape(message)):
            cfg.resolve("demo", [entry])
    monkeypatch.setenv("RUMORLIB_CORPORA", f"other={own}")
    assert cfg.resolve("demo", ["other", "mine"]).datasets == ("other", "mine"), "as the kernels of a run know it"


def test_every_corpus_of_posts_is_a_dataset_by_name(own: Path) -> None:
    for profile in ("laptop", "paper"):
        for name in ("mfan-pheme", "mfan-weibo", "pheme-text", "manifest", "twitter"):
            assert cfg.resolve(profile, [name], train="none").datasets == (name,)
    assert "mfan-pheme" not in cfg.resolve("laptop", train="none").datasets
    for profile, name in (
        ("demo", "mfan-pheme"),
        ("laptop", "demo-en"),
        ("paper", "photo-en"),
        ("laptop", "flickr8k-en"),
    ):
        with pytest.raises(cfg.SettingError, match=f"profile {profile} has datasets"):
            cfg.resolve(profile, [name], train="none")
    settings = cfg.resolve("laptop", ["mfan-pheme", "mfan-weibo"], train="none")
    assert [c.detector.lambda_c for c in experiments.dmfl_main(settings)[:: len(settings.seeds)]] == [1.8, 1.2]
    assert {c.stage1.dataset for c in experiments.micc_main(settings)} == {"flickr8k"}


def test_a_model_that_reads_pictures_refuses_texts_before_anything_starts(own: Path) -> None:
    settings = cfg.resolve("laptop", [f"mine={own}"])
    for make in (experiments.micc_main, experiments.dmfl_main, rivals.main, experiments.micc_ablations):
        with pytest.raises(cfg.SettingError, match="mine is a corpus of texts, and this model reads pictures"):
            make(settings)
    kinds = {config.variant for config in experiments.baselines(settings)}
    assert kinds == set(experiments.OF_TEXTS) & set(experiments.BASELINES)
    of_texts = experiments.text_only_runs(settings)
    assert {c.variant for c in of_texts} >= {"TCNN", "TTRAS", "tfidf_lr"} and {c.dataset for c in of_texts} == {"mine"}


@pytest.mark.parametrize("profile", cfg.PROFILES)
def test_a_run_names_nothing_that_it_does_not_read(profile: str) -> None:
    settings = cfg.resolve(profile, train="none")
    plans = (
        experiments.baselines(settings) + experiments.dmfl_ablations(settings) + experiments.text_only_runs(settings)
    )
    for config in plans:
        words = config.variant in (*experiments.OF_WORDS, "TCNN", "TTRAS")
        assert not words or config.stage1 is None, config.path
        assert config.variant not in ("TCNN", "TTRAS") or config.detector.image is None, config.path
        tower = profiles.SIZES[profile].texts[config.language]
        if config.variant == "text_lr":  # where stage 1 trains the tower, texts are read through it
            assert config.detector.text == (tower if tower.kind == "frozen" else None)
            assert (config.stage1 is None) == (tower.kind == "frozen")


def test_two_corpora_of_ones_own_lie_side_by_side(own: Path, output: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(own, other)
    settings = cfg.resolve("demo", [f"mine={own}", f"other={other}"])
    plans = [
        experiments.baseline(settings, name, kind) for name in settings.datasets for kind in ("majority", "tfidf_lr")
    ]
    made = [results.run_or_load(plan, settings) for plan in plans]
    assert [report.name.split("/")[1] for report in made] == ["mine", "mine", "other", "other"]
    assert made[1].metrics["test"]["accuracy"] == 1.0 > made[0].metrics["test"]["accuracy"]
    assert made[1].metrics == made[3].metrics and made[1].facts["content"] == made[3].facts["content"]
    for report in made:
        assert "row_key" in report.predictions() and not (output / "cache").exists()
    stored = "".join(path.read_text(errors="ignore") for path in output.rglob("*") if path.is_file())
    assert str(tmp_path) not in stored and "shark" not in stored, "neither words nor folders are kept"
    assert set(comparison.main_table(made)["dataset"]) == {"mine", "other"}


def test_posts_of_ones_own_that_changed_since_are_refused(
    own: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = cfg.resolve("laptop", [f"mine={own}"])
    plan = experiments.baseline(settings, "mine", "majority")
    before = results.run_or_load(plan, settings).fingerprint
    assert results.run_or_load(plan, settings).fingerprint == before
    told = (own / "manifest.csv").read_text()
    (own / "manifest.csv").write_text(told.replace("shark", "whales", 1))
    with pytest.raises(runs.StaleRun, match="was run on other posts than lie there now"):
        results.run_or_load(plan, settings)
    assert execute.main(["01", "--profile", "laptop", "--corpus", f"mine={own}"]) == 2
    assert "was run on other posts" in capsys.readouterr().err


def test_posts_of_ones_own_find_the_weights_in_the_data_folder(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMORLIB_DATA", str(tmp_path))
    assert cfg.resolve("laptop", [f"mine={own}"]).data_root == tmp_path.resolve()
    assert cfg.resolve("demo", ["mine"]).data_root is None


def test_home_in_a_folder_of_the_environment_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUMORLIB_OUTPUT", "~/out")
    monkeypatch.setenv("RUMORLIB_CACHE", "~/cache")
    assert (cfg.output_root(), cfg.cache_root()) == (tmp_path / "out", tmp_path / "cache")


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf"])
def test_minutes_between_checkpoints_are_a_number(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cfg.CHECKPOINT_MINUTES, "2.5")
    assert cfg.resolve("demo").checkpoint_minutes == 2.5
    monkeypatch.setenv(cfg.CHECKPOINT_MINUTES, "")
    assert cfg.resolve("demo").checkpoint_minutes == 10
    monkeypatch.setenv(cfg.CHECKPOINT_MINUTES, given)
    with pytest.raises(cfg.SettingError, match="--checkpoint-minutes"):
        cfg.resolve("demo")
