"""Values are checked where they enter: every field has a type and a range, every name a list and a nearest guess."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from pathlib import Path
from typing import Any

import pytest

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.commands import check_data, execute, readme, rebuild, score

CONFIGS = sorted(
    (kind for _, kind in inspect.getmembers(cfg, inspect.isclass)
     if dataclasses.is_dataclass(kind) and kind.__module__ == cfg.__name__ and kind is not cfg.Range),
    key=lambda kind: kind.__name__,
)  # fmt: skip
NEEDED = {"kind": "majority", "path": "a:B", "model": "micc", "dataset": "demo-en", "profile": "demo",
          "datasets": ("demo-en",), "seeds": (0,)}  # fmt: skip


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


CASES = [(kind, field.name) for kind in CONFIGS for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_every_field_has_a_type_and_every_number_a_range(kind: type, name: str) -> None:
    assert issubclass(kind, cfg.Checked)
    hint = typing.get_type_hints(kind, include_extras=True)[name]
    assert all(ranged for leaf, ranged in leaves(hint) if leaf in (int, float)), f"{kind.__name__}.{name}: no range"
    wrong: list[Any] = [object(), {1}]
    if {int, float} & {leaf for leaf, _ in leaves(hint)}:
        wrong += [float("nan"), float("inf"), True, -(10**9), "two"]
    for value in wrong:
        with pytest.raises(cfg.SettingError, match=rf"^{kind.__name__}\.{name} must be "):
            made(kind, **{name: value})


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
        (cfg.TrainConfig, {"bf16": 1}, "TrainConfig.bf16 must be True or False; got 1"),
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
    paths = sorted((cfg.PROJECT_ROOT / "results").rglob("config.json"))
    assert len(paths) > 500
    for path in paths:
        stored = json.loads(path.read_text(encoding="utf-8"))
        config = cfg.from_dict(stored)
        assert cfg.as_dict(config) == stored, path
        assert f"{cfg.config_hash(config)}\n" == (path.parent / "DONE").read_text(encoding="utf-8")[:17], path
        assert path.parent.as_posix().endswith(config.path.as_posix())


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
    monkeypatch.setattr(cfg.os, "access", lambda *_: False)
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
    monkeypatch.setattr(execute, "_run_one", lambda *_: pytest.fail("a kernel was started"))
    (tmp_path / "file").write_text("")
    assert execute.main(["01", "--output", str(tmp_path / "file")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_a_parameter_twice_in_a_file_is_an_error(
    tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text("seeds: [0]\nseeds: [1]\n")
    assert execute.main(["01", "-f", str(tmp_path / "p.yaml")]) == 2
    assert "seeds" in (shown := capsys.readouterr().err) and "twice" in shown and shown.count("\n") == 1
