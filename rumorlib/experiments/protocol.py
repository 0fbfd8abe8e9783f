"""Runs about the protocol: rules that choose a configuration, habits of published evaluations, exchanged inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from rumorlib.config import BaselineConfig, RunConfig, Settings, record
from rumorlib.config.profiles import HEADS
from rumorlib.data.splitting import splits
from rumorlib.experiments import benches
from rumorlib.experiments.papers import MICC_INPUTS, baseline, micc, micc_main

LR_OF_INPUTS = {"text": "text_lr", "image": "image_lr", "both": "text_image_lr"}
INPUTS = tuple(LR_OF_INPUTS)
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # scikit-learn's C
RATES = (3e-4, 1e-3)
N_FOLDS = 5
SHOWN = 3  # seeds of a head whose probabilities are averaged


@dataclass(frozen=True)
class Choice:
    """A configuration: a logistic regression of strength C, or a head of learning rate `lr`, on some inputs."""

    inputs: str
    c: float = 0.0
    lr: float = 0.0

    @property
    def name(self) -> str:
        """As printed."""
        return f"LR, {self.inputs}, C={self.c:g}" if self.c else f"MLP, {self.inputs}, lr={self.lr:g}"

    def plan(self, settings: Settings, dataset: str) -> RunConfig:
        """Its run."""
        head = replace(HEADS[settings.profile], inputs=self.inputs, lr=self.lr, n_seeds=SHOWN)
        chosen = BaselineConfig(LR_OF_INPUTS[self.inputs], self.c) if self.c else head
        return benches.plan(settings, dataset, "select", "-".join(self.name.replace(",", "").split()), chosen)


def choices() -> list[Choice]:
    """All configurations, simplest first: linear before not, then stronger regularisation, then fewer inputs."""
    linear = [Choice(inputs, c=c) for c in STRENGTHS for inputs in INPUTS]
    return [*linear, *(Choice(inputs, lr=lr) for lr in RATES for inputs in INPUTS)]


def selection_dataset(settings: Settings) -> str | None:
    """The corpus of this study: the first whose cross-fit folds are whole events, or drawn scenes in English."""
    found = (name for name in settings.datasets if record(name).dev_by_event)
    return next(found, next((name for name in settings.datasets if record(name).kind == "drawn"), None))


def selection_runs(settings: Settings, dataset: str) -> list[RunConfig]:
    """The run of every configuration."""
    return [choice.plan(settings, dataset) for choice in choices()]


def fold_runs(settings: Settings, dataset: str) -> list[RunConfig]:
    """MICC's classifier inputs on every cross-fit fold, first seed; none at demo, nor for a dataset not asked for.
    Fold 0 is the dev side of a published split (`protocols.split`): that run is the one of notebook 03."""
    if settings.profile == "demo" or dataset not in settings.datasets:
        return []
    one = replace(settings, datasets=(dataset,), seeds=settings.seeds[:1])
    splits = ["", *(f"cross-fit:{fold}" for fold in range(1, N_FOLDS))]
    return [replace(run, protocol=split) for run in micc_main(one) for split in splits]


EPOCH_ON_TEST = "test_epoch"  # the reading after each seed's epoch with the best test accuracy
HONEST = "honest"
LEAK_OF_STEP = 0.5  # drawn scenes have no stories: their random split is one with this leak rate
SCENE = "same scene and claim"  # what leaks between drawn scenes


def anatomy_runs(settings: Settings, dataset: str) -> dict[str, list[RunConfig]]:
    """Fit -> its runs: one per split. PHEME's honest score is that of its five large events in turn."""
    head = HEADS[settings.profile]
    plan = partial(benches.plan, settings, dataset, "anatomy")
    both = replace(head, readings=("test", EPOCH_ON_TEST))
    if record(dataset).kind == "drawn":
        leaking = replace(both, leak=SCENE, dose=LEAK_OF_STEP)
        return {HONEST: [plan(HONEST, head)], "random posts": [plan(f"leak={LEAK_OF_STEP}", leaking)]}
    usual = record(dataset).protocol
    honest = [f"event:{event}" for event in splits.PHEME_DEV] if usual[6:] in splits.PHEME_DEV else [usual]
    made = {
        HONEST: [plan(HONEST, head, protocol) for protocol in honest],
        "random groups": [plan("plain", head, "grouped")],
        "random posts": [plan("plain", both, "random")],
    }
    told = replace(head, inputs="told", readings=(EPOCH_ON_TEST,))
    return made | ({"metadata": [plan("told", told, "random")]} if record(dataset).dates else {})


def leaks(settings: Settings, dataset: str) -> tuple[str, ...]:
    """What may leak (see `doses`)."""
    if record(dataset).kind == "drawn":
        return (SCENE,)
    named = "same event" if record(dataset).events else "other test posts"
    return ("same picture" if benches.pictured(dataset, settings) else named, "same post")


Point = tuple[str, float]  # leak ("" at dose 0), dose


def dose_runs(settings: Settings, dataset: str) -> dict[Point, RunConfig]:
    """(leak, dose) -> its run; dose 0 is one run, the first point of every curve."""
    head = HEADS[settings.profile]
    points: list[Point] = [(leak, dose) for leak in leaks(settings, dataset) for dose in head.doses if dose]

    def plan(leak: str, dose: float) -> RunConfig:
        variant = f"{leak.replace(' ', '-') or 'dose'}={dose:g}"
        leaking = replace(head, leak=leak, dose=dose)
        return benches.plan(settings, dataset, "dose", variant, leaking, record(dataset).protocol)

    return {point: plan(*point) for point in [("", 0.0), *points]}


def exchanged_runs(settings: Settings, dataset: str) -> tuple[RunConfig, RunConfig]:
    """Logistic regression on frozen text and picture, and MICC with the product input: each reads the test posts under
    every intervention, in one run."""
    product = micc(settings, dataset, 0, "product", classifier_input="product")
    regression = benches.plan(settings, dataset, "exchange", "exchanged", BaselineConfig("text_image_lr"))
    return regression, replace(product, kind="exchange", variant="product-exchanged", parent=product)


def single_modality_fits(settings: Settings) -> list[RunConfig]:
    """Text alone and image alone, by classifiers that know the train posts by heart: on drawn scenes dev must stay at
    the Bayes bound all the same."""
    drawn = [dataset for dataset in settings.datasets if record(dataset).kind == "drawn"]
    return [baseline(settings, dataset, kind) for dataset in drawn for kind in ("text_forest", "image_forest")]


def second_corpus(settings: Settings) -> list[RunConfig]:
    """MICC's main rows on drawn scenes of another corpus seed, with their own stage 1; grid "full" of demo only."""
    if settings.profile != "demo" or settings.grid != "full":
        return []
    rows = MICC_INPUTS.items()
    return [micc(settings, "demo-en", 0, variant, corpus_seed=1, classifier_input=how) for variant, how in rows]
