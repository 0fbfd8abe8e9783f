"""The runs behind a detector that somebody asks for by name, on posts of their own."""

from __future__ import annotations

from dataclasses import replace

from rumorlib.config import OTHERS, RunConfig, SettingError, Settings, nearest, record, weights_place
from rumorlib.config.by_corpus import sizes_of
from rumorlib.data.corpora import load_captions, place_of
from rumorlib.data.posts import PostsError
from rumorlib.experiments import added, papers, rivals

ROWS = (*papers.BASELINES, "text_forest", "image_forest")
MODELS = ("recommended", "micc", "dmfl", "dmfl-text", *OTHERS, *(kind.replace("_", "-") for kind in ROWS))


def runs_of(model: str, settings: Settings, dataset: str, seed: int = 0) -> list[RunConfig]:
    """The runs of one of MODELS, or of a class of one's own as module:Class; posts without a picture stay.

    Raises: SettingError: no such model, or it reads pictures and the corpus has none.
    """
    if ":" in model:
        found = [added.detector(settings, dataset, model, seed)]
    elif model == "recommended":
        found = recommended(settings, dataset)
    elif model == "dmfl-text":
        found = [papers.dmfl(settings, dataset, seed, "TTRAS", **papers.DMFL_VARIANTS["TTRAS"])]
    elif model in ("micc", "dmfl"):
        found = [{"micc": papers.micc, "dmfl": papers.dmfl}[model](settings, dataset, seed)]
    elif model in OTHERS:
        found = [rivals.rival(settings, dataset, model, seed)]
    elif model.replace("-", "_") in ROWS:
        found = [papers.baseline(settings, dataset, model.replace("-", "_"))]
    else:
        raise SettingError(
            f"no model {model!r}{nearest(model, MODELS)}; there are {', '.join(MODELS)}, and module:Class"
        )
    return [replace(one, on_missing_image="blank") if record(dataset).pictures else one for one in found]


def recommended(settings: Settings, dataset: str) -> list[RunConfig]:
    """TF-IDF; beside it DMFL where posts have pictures and the weights of its frozen encoders are there, and MICC with
    products where the captions of its stage 1 are, too; a logistic regression on the frozen text encoder where only
    that one is (cross-validation tells it from no pair, notebook 12)."""
    sizes, known = sizes_of(settings.profile, dataset), record(dataset)
    found = [papers.baseline(settings, dataset, "tfidf_lr")]

    def there(weights: str | None) -> bool:
        return bool(weights and settings.data_root) and weights_place(weights, settings.data_root).is_dir()

    if there(sizes.texts[known.language].weights):
        with_pictures = known.pictures and sizes.dmfl.image and there(sizes.dmfl.image.weights)
        found.append(papers.dmfl(settings, dataset) if with_pictures else papers.baseline(settings, dataset, "text_lr"))
        if with_pictures:
            micc = papers.micc(settings, dataset, 0, "product", classifier_input="product")
            sees = micc.stage1.sclip.vision.weights
            found += [micc] * (not sees or there(sees)) * _captions_there(micc.stage1, settings)
    return found


def _captions_there(stage1: RunConfig, settings: Settings) -> bool:
    name = f"{stage1.dataset}-{stage1.language}"
    try:
        return place_of(name, settings) is None or bool(load_captions(name, settings))
    except (FileNotFoundError, PostsError):
        return False


def to_try(settings: Settings) -> list[RunConfig]:
    """What notebook 11's form offers where nothing is saved: of the main rows one seed of the MICC that also reads
    products, and of DMFL, per dataset with pictures."""
    return [
        one
        for dataset in settings.datasets
        if record(dataset).pictures
        for one in (
            papers.micc(settings, dataset, settings.seeds[0], "product", classifier_input="product"),
            papers.dmfl(settings, dataset, settings.seeds[0]),
        )
    ]
