"""Every run that the notebooks need, by notebook: one list serves the plan, the cost table and the tests.

What a search decides from its own first runs (half steps of loss weights) is left out: its notebook makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from rumorlib.config import RunConfig, Settings
from rumorlib.config.profiles import swept
from rumorlib.experiments import (
    benches,
    compression,
    explained,
    literal,
    own_posts,
    papers,
    pretraining,
    protocol,
    recommended,
    rivals,
    texts,
)

Maker = Callable[[Settings], Iterable[RunConfig]]


def _shortcuts(settings: Settings) -> Iterator[RunConfig]:
    kinds = ("majority", "surface_lr", "tfidf_lr")
    return (config for config in papers.baselines(own_posts.beside(settings)) if config.variant in kinds)


def _of_swept(make: Maker, settings: Settings) -> Iterator[RunConfig]:
    settings = own_posts.of_sweeps(settings)
    return (config for config in make(settings) if config.dataset in swept(settings))


def _beside_stage1(settings: Settings) -> Iterator[RunConfig]:
    corpora = {config.dataset for config in pretraining.micc_stage1(settings)}
    return (config for config in papers.micc_main(settings) if config.dataset in corpora)


def _on_own_posts(make: Maker, settings: Settings) -> Iterable[RunConfig]:
    return make(own_posts.of_sweeps(settings))


def _of_sweeps(*makers: Maker) -> tuple[Maker, ...]:
    return tuple(partial(_on_own_posts, make) for make in makers)


def _on_benches(settings: Settings) -> Iterator[RunConfig]:
    if chosen := protocol.selection_dataset(settings):
        yield from protocol.selection_runs(settings, chosen)
        yield from protocol.fold_runs(settings, chosen)
    for dataset in benches.of_anatomy(settings):
        for configs in protocol.anatomy_runs(settings, dataset).values():
            yield from configs
        yield from protocol.dose_runs(settings, dataset).values()
    for dataset in benches.with_pictures(settings):
        yield from protocol.exchanged_runs(settings, dataset)


MAIN_ROWS = (papers.micc_main, papers.baselines, rivals.main)
DMFL_LOSSES = tuple(partial(papers.dmfl_loss_weights, which=which) for which in ("lambda_c", "lambda_a"))
# Notebook -> what makes its runs, from the settings of main rows and from those of ablations and sweeps.
OF_NOTEBOOK: dict[str, tuple[tuple[Maker, ...], tuple[Maker, ...]]] = {
    "01_data_exploration": ((_shortcuts,), ()),
    "02_sclip_pretraining": ((papers.stage1_runs, papers.sclip_variants, pretraining.sclip_pictures), ()),
    "03_micc": (
        (*MAIN_ROWS, protocol.single_modality_fits, protocol.second_corpus, pretraining.as_long_as_they_learn), ()
    ),
    "04_dmfl": (
        (papers.dmfl_main, *MAIN_ROWS, explained.start_runs, explained.reply_runs, texts.text_only_runs,
         texts.word2vec_runs), ()
    ),
    "05_ablations": (
        (partial(_of_swept, papers.dmfl_main),),
        (partial(_of_swept, papers.micc_main), _beside_stage1,
         *_of_sweeps(papers.micc_ablations, papers.dmfl_ablations), pretraining.micc_stage1, pretraining.micc_known,
         pretraining.ablations_as_long),
    ),
    "06_sensitivity": (
        (partial(_of_swept, papers.dmfl_main),),
        (*_of_sweeps(papers.micc_receptive_fields, papers.micc_top_k, papers.micc_fusion_weight, papers.micc_grid,
                     papers.micc_main, *DMFL_LOSSES, papers.dmfl_heads), pretraining.adaptive_as_long),
    ),
    "07_correlation_heatmaps": (
        _of_sweeps(explained.map_runs, explained.asked_runs, explained.alignment_runs, papers.micc_main), ()
    ),
    "08_explanations": (
        (explained.explained_runs, explained.lambda_end_runs, explained.adaptive_runs, explained.probe_runs,
         explained.marked_train_runs, explained.boxed_runs), ()
    ),
    "09_believable_numbers": ((papers.micc_main, papers.baselines, _on_benches), ()),
    "10_cost": ((), (compression.compression_runs,)),
    "11_your_posts": ((recommended.to_try,), ()),
    "12_papers_own_posts": ((own_posts.every, literal.every), ()),
}  # fmt: skip
# Runs whose weights a notebook reads, beside what it reads of every run.
WEIGHTS: dict[str, tuple[Maker, ...]] = {
    "07_correlation_heatmaps": (explained.asked_runs,),
    "08_explanations": (
        explained.explained_runs, explained.lambda_end_runs, explained.marked_runs
    ),
    "11_your_posts": (recommended.to_try,),
}  # fmt: skip
OF_DMFL = (papers.dmfl_ablations, papers.dmfl_heads, *DMFL_LOSSES)  # what `with_dmfl=False` leaves out of 05 and 06


def of_notebooks(
    names: Iterable[str], main: Settings, sweep: Settings, with_dmfl: bool = True
) -> tuple[dict[str, RunConfig], set[str]]:
    """The runs of notebooks by their folder, and the folders of those whose weights are read.

    Args:
        names: of notebooks, without ".ipynb"; one that is not listed needs none.
        main, sweep: settings of main rows, and of ablations and sweeps.
    """
    every: dict[str, RunConfig] = {}
    weights: set[str] = set()
    for name in names:
        for makers, settings in zip(OF_NOTEBOOK.get(name, ((), ())), (main, sweep), strict=True):
            chosen = [make for make in makers if with_dmfl or not _is_of_dmfl(make)]
            every |= {config.path.as_posix(): config for make in chosen for config in make(settings)}
        weights |= {config.path.as_posix() for make in WEIGHTS.get(name, ()) for config in make(main)}
    return every, weights


def _is_of_dmfl(make: Maker) -> bool:
    inner = make.args[0] if isinstance(make, partial) and make.args else make
    return (inner is papers.dmfl_main and inner is not make) or inner in OF_DMFL
