"""Which runs there are: a variant changes what its name says, profiles share the algorithm, folders never collide."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import itertools
import json
import typing
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from statsmodels.stats.contingency_tables import mcnemar

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.config import profiles
from rumorlib.data import files
from rumorlib.encoders.vision import grid_sides
from rumorlib.experiments import own_posts, pretraining
from rumorlib.metrics.curves import FEWEST
from rumorlib.studies.scores import papers

LISTS = {
    "micc_main": experiments.micc_main,
    "micc_ablations": experiments.micc_ablations,
    "micc_stage1": experiments.micc_stage1,
    "micc_top_k": experiments.micc_top_k,
    "micc_fusion_weight": experiments.micc_fusion_weight,
    "micc_receptive_fields": experiments.micc_receptive_fields,
    "micc_grid": experiments.micc_grid,
    "dmfl_main": experiments.dmfl_main,
    "dmfl_ablations": experiments.dmfl_ablations,
    "dmfl_lambda_c": lambda settings: experiments.dmfl_loss_weights(settings, "lambda_c"),
    "dmfl_lambda_a": lambda settings: experiments.dmfl_loss_weights(settings, "lambda_a"),
    "dmfl_heads": experiments.dmfl_heads,
    "dmfl_heatmaps": experiments.map_runs,
    "dmfl_alignment": experiments.alignment_runs,
    "baselines": experiments.baselines,
    "single_modality_fits": experiments.single_modality_fits,
    "second_corpus": experiments.second_corpus,
    "lightweight": experiments.compression_runs,
}
SWEEPS = {
    "micc_top_k": {"detector.top_k"},
    "micc_fusion_weight": {"detector.fusion_weight"},
    "micc_receptive_fields": {"stage1.sclip.vision.receptive_fields"},
    "micc_grid": {"detector.top_k", "detector.fusion_weight"},
    "dmfl_lambda_c": {"detector.lambda_c"},
    "dmfl_lambda_a": {"detector.lambda_a"},
    "dmfl_heads": {"detector.n_heads"},
    "dmfl_heatmaps": {"train.epochs", "train.patience", "train.record_epochs"},
}
LONGER = {"sclip.temperature_init", "sclip.feature_dropout", "train.captions_per_image", "train.epochs"}
VARIANTS = {  # what each ablation may change, and must
    "product": {"detector.classifier_input"},
    "relevance": {"detector.classifier_input"},
    "A-gamma": {"detector.alignment"},
    "A-delta": {"detector.alignment"},
    "Ms-alpha": {"detector.fusion"},
    "Ms-beta": {"detector.fusion"},
    **{f"{how}-k": {"detector.controls.selection"} for how in experiments.SELECTION_CONTROLS},
    "fields-": {"stage1.sclip.vision.receptive_fields"},
    "no-stage-1": {"stage1.train.epochs"},
    "captions-en": {"stage1.sclip.texts"},
    "captions-zh": {"stage1.sclip.texts"},
    "captions-en-zh": {"stage1.sclip.texts"},
    "captions-drawn": {"stage1.dataset"},
    "captions-twitter": {"stage1.dataset", "stage1.train.batch_size", "stage1.train.epochs"},
    "lambda_a=0": {"detector.lambda_a"},
    "TB": {"detector.parts", "detector.alignment"},
    "TL": {"detector.parts"},
    "A": {"detector.alignment"},
    "side": {"detector.alignment"},
    "ATT": {"detector.fusion"},
    "TCNN": {"detector.parts", "detector.alignment"},
    "TTRAS": {"detector.parts", "detector.alignment"},
    "I": {"detector.parts", "detector.alignment"},
}
NAMES = {"variant", "stage1.variant", "stage1.language"}  # a name is no setting


def settings(profile: str = "demo", grid: str = "reduced", datasets: list[str] | None = None) -> cfg.Settings:
    return cfg.resolve(profile, datasets, train="none", grid=grid)


@cache
def leaves(config: Any) -> dict[str, Any]:
    return files.flatten(cfg.as_dict(config))


def differences(one: Any, other: Any) -> set[str]:
    a, b = leaves(one), leaves(other)
    return {name for name in a | b if a.get(name, "absent") != b.get(name, "absent")}


@cache
def default_of(model: str, given: cfg.Settings, dataset: str, seed: int) -> cfg.RunConfig:
    return {"micc": experiments.micc, "dmfl": experiments.dmfl}[model](given, dataset, seed)


# --- a variant is one change ----------------------------------------------------------------------


EVERY_PROFILE = [(profile, grid) for profile in cfg.PROFILES for grid in cfg.GRIDS]


def listed(names: Iterable[str]) -> Iterator[tuple[str, cfg.RunConfig, set[str]]]:
    """Each run of these lists, at every profile and grid, and the fields in which it differs from the default."""
    for profile, grid in EVERY_PROFILE:
        given = settings(profile, grid)
        for name in names:
            for config in LISTS[name](given):
                default = default_of(config.model, given, config.dataset, config.seed)
                yield name, config, differences(config, default) - NAMES


def test_a_variant_differs_in_what_it_is_named_after() -> None:
    wrong = []
    for _, config, changed in listed(
        ("micc_main", "micc_ablations", "micc_stage1", "dmfl_ablations", "dmfl_alignment")
    ):
        known = "fields-" if config.variant.startswith("fields-") else config.variant
        if known in ("TCNN", "TTRAS"):  # no picture is read: no encoder of pictures, no stage 1
            changed = {field for field in changed if not field.startswith(("detector.image", "stage1"))}
        if known in ("TL", "TCNN", "I"):  # no logic chain: no encoder that it starts from
            of_chain = ("detector.logic_init", "detector.logic_text", "detector.logic_frozen")
            changed = {field for field in changed if not field.startswith(of_chain)}
        expected = set() if known == "default" else VARIANTS[known]
        wrong += [f"{config.profile} {config.path}: {changed}"] * (changed != expected)
    assert not wrong, "\n".join(wrong)


def test_a_sweep_differs_in_what_it_sweeps() -> None:
    wrong = [f"{config.profile} {config.path} also changes {changed - SWEEPS[name]}"
             for name, config, changed in listed(SWEEPS) if not changed <= SWEEPS[name]]  # fmt: skip
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("grid", cfg.GRIDS)
def test_a_sweep_contains_the_default_run(grid: str) -> None:
    given, wrong = settings("demo", grid), []
    for name in sorted(set(SWEEPS) - {"micc_grid", "dmfl_heatmaps"}):
        runs = LISTS[name](given)
        main = experiments.micc_main(given) if name.startswith("micc") else experiments.dmfl_main(given)
        swept = {config.dataset for config in runs}
        defaults = {config for config in main if config.variant == "default" and config.dataset in swept}
        right = {config for config in runs if config.variant == "default"} == defaults
        wrong += [name] * (not right or swept != set(profiles.swept(given)) or len(runs) <= len(defaults))
    assert not wrong, wrong


@pytest.mark.parametrize("profile", cfg.PROFILES)
def test_all_patches_is_no_selection_at_any_scale(profile: str) -> None:
    for config in experiments.micc_top_k(settings(profile, "full")):
        assert max(grid_sides(config.stage1.sclip.vision)) ** 2 <= profiles.ALL_PATCHES, config.path


def test_stage_1_variants_differ_in_one_thing() -> None:
    for profile in cfg.PROFILES:
        given, language = settings(profile, "full"), cfg.record(cfg.DATASETS[profile][0]).language
        longer = experiments.sclip_longer(given, language)
        default, *others = [run for run in experiments.sclip_variants(given) if run not in longer]
        assert all(differences(default, run) - NAMES == LONGER for run in longer) and bool(longer) == (
            profile == "laptop"
        )
        assert default == experiments.sclip(settings(profile), language) and len(others) == 4
        for other in others:
            changed = differences(default, other) - NAMES
            assert len(changed) == 1 and changed <= {"sclip.similarity", "sclip.vision.receptive_fields"}


def test_parts_removed_on_photographs_are_those_of_the_papers_posts() -> None:
    """Each differs from the full model of its seed in one part; the rules of adaptive K in the rule."""
    given = cfg.resolve("laptop", train="none")
    for runs, whole, allowed in (
        (
            pretraining.ablations_as_long(given),
            "longer",
            {"detector.alignment", "detector.fusion", "detector.controls.selection"},
        ),
        (pretraining.adaptive_as_long(given), "longer-product", {"detector.top_k", "detector.controls.keep"}),
    ):
        full = {run.seed: run for run in runs if run.variant == whole}
        assert len(full) == len(given.few.seeds) and {run.dataset for run in runs} == {"photo-en"}
        for run in runs:
            changed = set(differences(full[run.seed], run)) - {"variant"}
            of_stage1 = run.variant.startswith("longer-fields")
            assert all(name.startswith("stage1") for name in changed) if of_stage1 else changed <= allowed, run.variant
            assert bool(changed) == (run.variant != whole)
        assert len(runs) == len({run.variant for run in runs}) * len(full) and all(
            r.train == runs[0].train for r in runs
        )
    assert pretraining.ablations_as_long(cfg.resolve("demo")) == []


def test_stage_1_on_fewer_pictures_differs_in_nothing_else() -> None:
    given = settings("laptop")
    *parts, whole = experiments.sclip_pictures(given)
    assert [run.n_train for run in parts] == list(profiles.PICTURES["laptop"]) == sorted(profiles.PICTURES["laptop"])
    assert whole == experiments.sclip(given, "en") and all(differences(run, whole) == {"n_train"} for run in parts)
    known, new = ({run for run in experiments.micc_known(given) if run.train_on == which} for which in ("known", "new"))
    assert {dataclasses.replace(run, train_on="new") for run in known} == new and len(new) == len(given.seeds)
    assert {run.stage1 for run in known} == {parts[-1]} and parts[-1].n_train == profiles.FLICKR8K_PICTURES // 2
    assert experiments.sclip_pictures(settings("demo")) == experiments.micc_known(settings("demo")) == []
    assert experiments.micc_known(settings("laptop", datasets=["twitter"])) == []


def test_cross_fit_folds_reuse_the_run_of_the_usual_dev_side() -> None:
    given = settings("laptop")
    runs = experiments.fold_runs(given, "twitter")
    usual = {run for run in runs if not run.protocol}
    assert len(runs) == 3 * experiments.N_FOLDS and usual <= set(experiments.micc_main(given))
    assert {run.protocol for run in runs} == {"", *(f"cross-fit:{fold}" for fold in range(1, experiments.N_FOLDS))}
    assert experiments.fold_runs(settings("laptop", datasets=["photo-en"]), "twitter") == []


def test_the_laptop_sweeps_the_papers_own_posts_and_loss_weights_have_the_fewest_points_with_a_shape() -> None:
    given = own_posts.of_sweeps(settings("laptop"))
    assert given.datasets == own_posts.CORPORA
    assert own_posts.of_sweeps(settings("laptop", datasets=["twitter"])).datasets == ("twitter",)
    for name in ("micc_ablations", "micc_top_k", "micc_receptive_fields", "dmfl_ablations", "dmfl_heads"):
        assert {run.dataset for run in LISTS[name](given)} == set(given.datasets), name
        assert {run.seed for run in LISTS[name](given)} == set(given.seeds), name
    assert Counter(run.variant for run in LISTS["dmfl_alignment"](given)) == dict.fromkeys(
        ("default", "side", "A"), cfg.FEW_SEEDS * len(given.datasets)
    )
    for which in ("lambda_c", "lambda_a"):
        runs = LISTS[f"dmfl_{which}"](given)
        n = Counter(run.dataset for run in runs if run.seed == 0)
        assert set(n.values()) == {FEWEST} and len({run.seed for run in runs}) == 1


def test_the_full_grid_holds_the_papers_points() -> None:
    given = settings("demo", "full", ["demo-en"])
    detectors = {name: [config.detector for config in LISTS[name](given)] for name in SWEEPS}
    assert {d.top_k for d in detectors["micc_top_k"]} == {1, 2, 4, 8, profiles.ALL_PATCHES}
    assert {0.65, 0.7} <= {d.fusion_weight for d in detectors["micc_fusion_weight"]}
    assert {d.n_heads for d in detectors["dmfl_heads"]} == {2, 4, 6, 8, 10}
    assert {1.2, 1.8} <= {d.lambda_c for d in detectors["dmfl_lambda_c"]}
    assert 2.4 in {d.lambda_a for d in detectors["dmfl_lambda_a"]}
    assert len({c.stage1.sclip.vision.receptive_fields for c in LISTS["micc_receptive_fields"](given)}) == 7


def test_main_rows_have_ten_seeds_and_sweeps_three_on_real_posts() -> None:
    for profile in ("laptop", "paper"):
        main, sweep = (cfg.resolve(profile, train="none", sweep=sweep) for sweep in (False, True))
        assert len(main.seeds) == 10 and len(sweep.seeds) == 3 and set(sweep.seeds) <= set(main.seeds)
        for runs in (experiments.micc_main(main), experiments.dmfl_main(main)):
            assert {run.seed for run in runs} == set(main.seeds)
    assert cfg.resolve(sweep=True).seeds == cfg.resolve().seeds == (0,)


# --- profiles ---------------------------------------------------------------------------------------

SIZES = {  # sizes, data, encoders and length of training; nothing else may depend on the profile
    "profile", "dataset", "language", "seed",
    "train.epochs", "train.batch_size", "train.lr", "train.tower_lr_scale", "train.patience",
    "train.optimizer", "train.weight_decay", "train.precision", "train.captions_per_image", "train.grad_clip",
    "sclip.texts", "sclip.d_joint", "sclip.dropout", "sclip.head", "sclip.feature_dropout", "sclip.temperature_init",
    "sclip.mask_twins",
    "sclip.vision.kind", "sclip.vision.weights", "sclip.vision.image_size_px", "sclip.vision.receptive_fields",
    "sclip.vision.width", "sclip.vision.depth", "sclip.vision.n_heads",
    "detector.width", "detector.freeze", "detector.text_layers",
    "detector.d_model", "detector.d_head", "detector.dropout",
    "detector.logic_width", "detector.logic_depth", "detector.logic_heads",
    "detector.word2vec.d_word", "detector.word2vec.epochs", "detector.word2vec.max_length",
    "detector.image", "detector.image_components", "detector.image_cls", "detector.image_layers",
    "detector.logic_init", "detector.logic_text",
}  # fmt: skip
ENGLISH = {"demo": "demo-en", "laptop": "photo-en", "paper": "pheme"}


@pytest.mark.parametrize("make", [experiments.micc, experiments.dmfl], ids=["micc", "dmfl"])
@pytest.mark.parametrize("profile", ["demo", "laptop"])
def test_profiles_share_the_algorithm(profile: str, make: Any) -> None:
    here, paper = (make(settings(p), ENGLISH[p]) for p in (profile, "paper"))
    changed = {name.removeprefix("stage1.") for name in differences(here, paper)} - NAMES
    changed = {"detector.logic_text" if name.startswith("detector.logic_text.") else name for name in changed}
    if make is experiments.dmfl:  # its image rows: of stage 1's tower, or of a frozen encoder and without stage 1
        changed = {"detector.image" if f"stage1.{name}" in leaves(here) | leaves(paper) or name == "stage1"
                   or name.startswith("detector.image.") else name for name in changed}  # fmt: skip
    assert changed <= SIZES, f"the profile also decides {sorted(changed - SIZES)}"


@pytest.mark.parametrize("profile", cfg.PROFILES)
def test_the_papers_values_are_the_defaults(profile: str) -> None:
    given = settings(profile)
    for dataset in given.datasets:
        micc, dmfl = experiments.micc(given, dataset).detector, experiments.dmfl(given, dataset).detector
        assert (micc.top_k, micc.fusion_weight, dmfl.n_heads, dmfl.lambda_a) == (2, 0.65, 8, 2.4)
        assert dmfl.lambda_c == (1.2 if "weibo" in dataset else 1.8)
        assert experiments.micc(given, dataset).stage1.sclip.vision.receptive_fields == experiments.fields(
            given, 32, 64
        )


# --- folders and hashes -----------------------------------------------------------------------------


def every_run(profile: str, grid: str) -> Iterator[cfg.RunConfig]:
    for make in LISTS.values():
        for config in make(settings(profile, grid)):
            while config:
                yield config
                if config.stage1:
                    yield config.stage1
                config = config.parent


@pytest.mark.parametrize("grid", cfg.GRIDS)
@pytest.mark.parametrize("profile", cfg.PROFILES)
def test_one_folder_holds_one_config(profile: str, grid: str) -> None:
    folders: dict[str, cfg.RunConfig] = {}
    for config in every_run(profile, grid):
        first = folders.setdefault(config.path.as_posix().lower(), config)  # some file systems ignore case
        assert first == config, f"{config.path}: two configs, differing in {differences(first, config)}"


def changed_once(config: Any) -> Iterator[tuple[str, Any]]:
    """Every field of a (nested) config, changed to another valid value."""
    others = {
        str: lambda v: f"{v}x", bool: lambda v: not v, int: lambda v: 2 * v or 7, float: lambda v: v * 0.5 + 0.01,
        type(None): lambda v: 7, tuple: lambda v: (*v, 96) if not v or isinstance(v[0], int) else (*v, v[0]),
    }  # fmt: skip
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            for name, inner in changed_once(value):
                yield f"{field.name}.{name}", dataclasses.replace(config, **{field.name: inner})
        else:
            base = config
            if field.name == "image_layers":  # refused without an encoder that may learn (test_fine_tuned.py)
                needed = (
                    {"freeze": "nothing"}
                    if isinstance(config, cfg.MICCConfig)
                    else {"image": cfg.VisionConfig("feature_map")}
                )
                base = dataclasses.replace(config, **needed)
            if field.name == "whiten_text":
                base = dataclasses.replace(config, texts=(("en", cfg.TextConfig(kind="frozen")),))
            choices = [name for name in typing.get_args(hints[field.name]) if isinstance(name, str) and name != value]
            objects = ["x", cfg.TextConfig(max_length=9), cfg.VisionConfig(), cfg.SCLIPConfig(),
                       cfg.DetectorConfig("m:C"), cfg.RunConfig("sclip", "x"), cfg.CompressionConfig(),
                       cfg.DistillationConfig()]  # fmt: skip
            for change in choices or [others[type(value)](value), *objects]:
                with contextlib.suppress(cfg.SettingError):
                    yield field.name, dataclasses.replace(base, **{field.name: change})
                    break
            else:
                pytest.fail(f"{type(config).__name__}.{field.name}: no other valid value is known here")


@pytest.mark.parametrize("make", [experiments.micc, experiments.dmfl], ids=["micc", "dmfl"])
def test_the_hash_changes_with_every_field(make: Any) -> None:
    config = make(settings(), "demo-en")
    hashes = {"nothing": cfg.config_hash(config)}
    for name, other in changed_once(config):
        hashes[name] = cfg.config_hash(other)
    assert len(hashes) > 40
    assert len(set(hashes.values())) == len(hashes)


def test_the_hash_does_not_depend_on_who_made_the_config() -> None:
    one, other = experiments.micc(settings(), "demo-en"), experiments.micc(settings(grid="full"), "demo-en")
    assert one == other and cfg.config_hash(one) == cfg.config_hash(other)


# --- notebooks ----------------------------------------------------------------------------------------


def test_the_default_settings_are_demo() -> None:
    given = cfg.resolve()
    assert (given.profile, given.datasets, given.seeds) == ("demo", ("demo-en", "demo-zh"), (0,))
    assert (given.train, given.grid, given.data_root) == ("missing", "reduced", None)


def test_notebooks_take_their_runs_from_experiments() -> None:
    wrong = []
    for path in sorted((cfg.PROJECT_ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        trees = [ast.parse("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
        named = {(node.value.id, node.attr) for tree in trees for node in ast.walk(tree)
                 if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}  # fmt: skip
        unknown = [attr for module, attr in named if module == "experiments" and not hasattr(experiments, attr)]
        own = ("config", "RunConfig") in named or ("config", "resolve") not in named
        wrong += [f"{path.name}: {unknown or 'resolves no settings, or builds runs of its own'}"] * bool(unknown or own)
    assert not wrong, "\n".join(wrong)


# --- The papers' numbers: the test behind "how many posts", F1 by brute force, and that no read ---


@pytest.mark.parametrize("gain", [1, 3, 5, 6, 9, 26])
def test_the_most_disagreements_is_where_mcnemar_turns(gain: int) -> None:
    def p_value(disagreements: int) -> float:
        wins = (disagreements + gain) // 2
        return mcnemar([[0, wins], [disagreements - wins, 0]], exact=True).pvalue

    allowed = papers.most_disagreements(gain, 400)
    tried = [d for d in range(gain, 401, 2) if p_value(d) < 0.05]
    assert allowed == max(tried, default=0)


def test_three_posts_prove_nothing_and_six_only_alone() -> None:
    assert papers.most_disagreements(3, 385) == 0
    assert papers.most_disagreements(5, 385) == 0
    assert papers.most_disagreements(6, 385) == 6


@pytest.mark.parametrize("average", papers.AVERAGES)
def test_f1_range_holds_every_classifier_of_that_accuracy(average: str) -> None:
    n, rumors, wrong = 20, 7, 4
    label = np.array([1] * rumors + [0] * (n - rumors))
    found = []
    for missed in range(wrong + 1):
        called = label.copy()
        called[:missed] = 0
        called[rumors : rumors + wrong - missed] = 1
        assert accuracy_score(label, called) == pytest.approx(1 - wrong / n)
        kind = {"average": "binary"} if average == "rumor" else {"average": average}
        found.append(f1_score(label, called, **kind))
    low, high = papers.f1_range(1 - wrong / n, rumors / n, average)
    assert (low, high) == (pytest.approx(min(found), abs=1e-3), pytest.approx(max(found), abs=1e-3))


def test_micc_on_weibo_needs_a_third_of_rumors() -> None:
    shares = papers.possible_shares(0.938, 0.917, "rumor")
    # by hand: hits = F1 e / (2 (1 - F1)), the share lies between hits and hits + e
    hits = 0.917 * 0.062 / (2 * 0.083)
    assert shares.min() == pytest.approx(hits, abs=0.006) and shares.max() == pytest.approx(hits + 0.062, abs=0.006)
    assert not np.isclose(shares, 0.5).any(), "impossible on the balanced test set"


def test_the_audit_gives_both_readings_and_posts() -> None:
    frame = papers.audit()
    assert set(frame["reading"]) >= {"as printed", "datasets swapped", "points", "relative"}
    told = frame.set_index(["subject", "reading"])["computed"]
    assert told["n_heads=8 over n_heads=2", "stated"] == "3 posts"
    assert told["DMFL over MFAN", "points"] == "6 posts"
    verdicts = frame.set_index(["subject", "reading"])["verdict"]
    assert verdicts["n_heads=8 over n_heads=2", "stated"] == "cannot be told apart"
    assert verdicts["DMFL over MFAN", "points"] == "open"
    assert verdicts["DMFL over DMFL-TTRAS", "as printed"] == "told apart"
    swapped = frame[frame["subject"].str.startswith("conclusions")].set_index("reading")["verdict"]
    assert swapped["datasets swapped"] == "consistent" and swapped["as printed"] == "contradicts itself"
    for column, corpus in itertools.product(["verdict", "why"], ["pheme", "weibo", "both"]):
        assert (frame.loc[frame["corpus"] == corpus, column].str.len() > 0).all()
    micc = frame[frame["subject"].str.startswith("MICC")]
    assert micc["verdict"].tolist() == ["impossible at our copy's share"] * 2
