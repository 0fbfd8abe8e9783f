"""Models, runs and studies on another device than the CPU, with none at hand.

Three stand-ins. `FakeTensorMode` knows shapes and devices as torch's own kernels see them: the tensor half of every
model passes with weights and batch on "cuda", and a tensor left on the CPU is an error. The meta device takes training
steps. And a device of our own, whose tensors hold CPU tensors: whole runs and studies pass on it, backward passes
included, and leave what they leave on the CPU; a tensor forgotten on the CPU, or made an array before
it came back, is an error there too. Tests marked `gpu` ask the same of a real one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_rivals import SMALL as RIVALS
from test_rivals import model as rival_model
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree, backend_registration
from torch.utils._python_dispatch import return_and_correct_aliasing

from rumorlib import added, config, evidence, experiments, inputs, results, rivals, training
from rumorlib.config import DMFLConfig, MICCConfig, SCLIPConfig, TextConfig, TrainConfig, VisionConfig
from rumorlib.data import drawn
from rumorlib.data.batches import Aligned, Batch, CaptionTensors, PostTensors, Texts
from rumorlib.data.claims import DrawnConfig
from rumorlib.encoders.clip import CLIPLayers
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vocabulary import CLS, PAD, SEP
from rumorlib.models import micc
from rumorlib.models.dmfl import DMFL
from rumorlib.models.heads import Heads
from rumorlib.models.micc import MICC
from rumorlib.studies.cost import lightweight
from rumorlib.studies.scores import adaptive
from rumorlib.studies.sight import breaks, explanations, interventions, looking, probes, word_explanations
from rumorlib.studies.trust import anatomy, counterfactuals

B, L, D, N_WORDS = 8, 7, 12, 20  # posts, text positions, width of frozen features, words
N_PATCHES = [16, 4]  # 32 px, receptive fields 8 and 16

# --- every model, small, with a batch it reads -------------------------------------------------------


def texts() -> Texts:
    draw = torch.Generator().manual_seed(0)
    ids, pieces = (torch.randint(4, N_WORDS, (B, L), generator=draw) for _ in range(2))
    lengths = torch.arange(B) % (L - 3) + 3  # the last column is nobody's
    mask = torch.arange(L) < lengths[:, None]
    ids[:, 0] = CLS
    ids[torch.arange(B), lengths - 1] = SEP
    features = torch.randn(B, D, generator=draw)
    return Texts(ids.masked_fill(~mask, PAD), mask, features, pieces.masked_fill(~mask, PAD))


def posts(images: Tensor | Aligned) -> Batch:
    """Eight posts with everything a post can bring."""
    label = (torch.arange(B) % 2).float()
    return PostTensors(texts(), images, torch.arange(B), label, torch.ones(B)).batch(torch.arange(B))


def pixels() -> Tensor:
    return torch.randint(0, 256, (B, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def rows(n: int = 9, d: int = D) -> Tensor:
    return torch.randn(B, n, d, generator=torch.Generator().manual_seed(2))


def sclip(kind: str = "patch_conv", **changes: Any) -> SCLIP:
    torch.manual_seed(0)
    vision = VisionConfig(kind=kind, image_size_px=32, receptive_fields=(8, 16), width=16, depth=1, n_heads=2)
    text = TextConfig("transformer" if kind == "patch_conv" else "frozen", max_length=L, width=16, depth=1, n_heads=2)
    made = SCLIPConfig((("en", text), ("zh", text)), vision, d_joint=16, **changes)
    return SCLIP(made, {"en": N_WORDS, "zh": N_WORDS}, {"en": D, "zh": D}, D)


def stage1(kind: str = "patch_conv", clip: bool = False, **changes: Any) -> tuple[SCLIP, Any]:
    model = sclip(kind, **changes)
    if clip:
        from transformers import CLIPVisionConfig, CLIPVisionModel

        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        vision = CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=32, patch_size=8))
        model.image_tower.layers = CLIPLayers(getattr(vision, "vision_model", vision))
    images = pixels() if kind == "patch_conv" else torch.randn(B, D, 3, 3)
    count = torch.full((B,), 1)
    made = texts()
    read = made if kind == "feature_map" else Texts(made.ids, made.mask)
    data = CaptionTensors({"en": read, "zh": read}, images, torch.arange(B), torch.arange(B), count)
    return model, next(data.shuffled(torch.arange(B), B, 2, torch.Generator().manual_seed(0)))


def micc_model(reads: str = "images", distil: float = 0.0, **changes: Any) -> tuple[MICC, Batch]:
    """MICC on what posts bring: pixels, patch tokens, joint patches, or patches already aligned."""
    freeze = {"images": "nothing", "tokens": "tokens"}.get(reads, "sclip")
    chosen = MICCConfig(width=8, freeze=freeze, distil=distil, **changes)
    model = MICC(chosen, sclip(), "en")
    patches = nn.functional.normalize(rows(sum(N_PATCHES), 16), dim=-1)
    images: Tensor | Aligned = {"images": pixels(), "tokens": rows(20, 16).half()}.get(reads, patches.half())
    if reads == "aligned":
        images = micc.align(chosen, N_PATCHES, patches[:, 0], patches, torch.arange(B))
    if distil:
        model.teacher_logit = torch.randn(B)
    return model, posts(images)._replace(text_features=patches[:, 1] if freeze == "sclip" else None)


def dmfl_model(**changes: Any) -> tuple[DMFL, Batch]:
    sizes = {"d_model": 12, "n_heads": 2, "d_head": 4, "logic_width": 12, "logic_depth": 1, "logic_heads": 2}
    chosen = DMFLConfig(**sizes | changes)
    n_rows = 9 + chosen.image_cls
    return DMFL(chosen, torch.randn(N_WORDS, 10), D, 9, n_tokens=N_WORDS), posts(rows(n_rows))


class Own(nn.Module):
    """A detector of one file, that offers a probability alone."""

    def __init__(self, given: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(*given.word_vectors.shape)
        self.out = nn.Linear(given.word_vectors.shape[1] + given.d_text, 1)

    def logit(self, batch: Batch) -> Tensor:
        words = self.words(batch.text_ids).mean(1)
        return self.out(torch.cat([words, batch.text_features], dim=1)).squeeze(1)

    def training_loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": nn.functional.binary_cross_entropy_with_logits(self.logit(batch), batch.label)}

    def prob_rumor(self, batch: Batch) -> Tensor:
        return self.logit(batch).sigmoid()


def own_model() -> tuple[Own, Batch]:
    from rumorlib.models.named import Given

    return Own(Given(torch.randn(N_WORDS, 10), D, (9, D))), posts(rows())


MODELS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    **{f"sclip {how}": partial(stage1, similarity=how) for how in ("lse", "mean", "topk")},
    "sclip from clip": partial(stage1, clip=True),
    "sclip frozen": partial(stage1, "feature_map", head="linear", feature_dropout=0.3),
    **{f"micc on {reads}": partial(micc_model, reads) for reads in ("images", "tokens", "joint", "aligned")},
    **{f"micc {how}": partial(micc_model, alignment=how) for how in ("all_patches", "global")},
    **{f"micc {how}": partial(micc_model, selection=how) for how in ("random", "bottom", "saliency")},
    **{f"micc by {how}": partial(micc_model, top_k=3, keep=how) for how in ("mass", "threshold")},
    **{f"micc fused by {how}": partial(micc_model, fusion=how) for how in ("concat", "mean")},
    **{f"micc reads {how}": partial(micc_model, classifier_input=how) for how in ("product", "relevance")},
    "micc taught": partial(micc_model, distil=0.5),
    "dmfl": dmfl_model,
    **{f"dmfl {parts}": partial(dmfl_model, parts=parts)
       for parts in ("logic_only", "semantic_only", "text_cnn", "text_transformer", "image")},
    **{f"dmfl from {start}": partial(dmfl_model, logic_init=start) for start in ("stage1", "bert")},
    **{f"dmfl {name}={value}": partial(dmfl_model, **{name: value}) for name, value in (
        ("granularity", "pooled"), ("alignment", "side"), ("alignment", "none"), ("attention_ffn", False),
        ("share_attention", True), ("swap_query", True), ("fusion", "weighted_sum"), ("image_cls", True),
        ("image_positions", True))},
    **{name: (lambda name=name: (rival_model(name), posts(rows()))) for name in RIVALS},
    "own": own_model,
}  # fmt: skip


def with_every_tensor(model: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """The model with its weights and buffers replaced, as `to` does, which knows no fake tensors."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = nn.Parameter(change(weight).detach(), weight.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else change(buffer)
    return model


# --- torch's own fakes ------------------------------------------------------------------------------


def answers(model: nn.Module, batch: Any) -> list[Any]:
    """What is asked of a model in evaluation mode: dev losses, log-odds, and what evidence and studies read."""
    model.eval()
    read = [model.training_loss(batch)]
    if isinstance(model, SCLIP):
        patches = model.encode_image(batch.images)
        return [*read, patches, *(model.similarity(model.encode_text(batch.texts[k], k), patches) for k in batch.texts)]
    if isinstance(model, DMFL):
        read.append(model(batch, need_maps=True))
        if model.has_semantic and model.config.granularity == "token":
            read.append(evidence.word_to_patch(model, batch))
    if isinstance(model, MICC):
        read.append(model(batch))
    return [*read, model.log_odds(batch) if hasattr(model, "log_odds") else model.prob_rumor(batch)]


@pytest.mark.parametrize("name", MODELS)
def test_the_tensor_half_of_a_model_stays_on_its_device(name: str) -> None:
    model, batch = MODELS[name]()
    with FakeTensorMode() as fake:
        there = lambda tensor: fake.from_tensor(tensor).to("cuda")  # noqa: E731
        model, batch = with_every_tensor(model, there), _pytree.tree_map_only(Tensor, there, batch)
        found = [model.train().training_loss(batch)]
        with torch.no_grad():
            found += answers(model, batch)
    tensors = [leaf for leaf in _pytree.tree_leaves(found) if isinstance(leaf, Tensor)]
    assert len(tensors) > 2 and {tensor.device.type for tensor in tensors} == {"cuda"}


def test_heads_stay_on_their_device() -> None:
    with FakeTensorMode() as fake:
        there = lambda tensor: fake.from_tensor(tensor).to("cuda")  # noqa: E731
        model = with_every_tensor(Heads(D, config.HeadsConfig(width=8, n_seeds=3)), there)
        assert model(there(torch.randn(3, B, D))).device.type == "cuda"


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_needs_shapes_alone(name: str) -> None:
    """Nothing in a step asks for a value: it would make a GPU wait."""
    model, batch = MODELS[name]()
    model, batch = model.to("meta"), _pytree.tree_map_only(Tensor, lambda tensor: tensor.to("meta"), batch)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: 1.0)
    training._step(model, model.training_loss(batch)["loss"], sgd, schedule, TrainConfig())
    with_gradient = [weight for weight in model.parameters() if weight.grad is not None]
    assert with_gradient and all(weight.grad.shape == weight.shape for weight in with_gradient)


# --- a device of our own ----------------------------------------------------------------------------

aten = torch.ops.aten
MIXED = (aten.copy_.default, aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default,
         aten._has_compatible_shallow_copy_type.default)  # fmt: skip


class There(Tensor):
    """A tensor on the stand-in device; `held` is the CPU tensor that it is made of."""

    @staticmethod
    def __new__(cls, held: Tensor) -> There:
        about = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return Tensor._make_wrapper_subclass(
            cls, held.shape, **about, device=standin(), requires_grad=held.requires_grad
        )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __repr__(self) -> str:
        return f"There({self.held})"

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, other: There) -> None:
        self.held.data = other.held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """An operation on the stand-in: the CPU's, of what its tensors hold. As on a GPU, tensors of two devices do not mix
    unless they are copied, index, or are single numbers."""
    if func is aten._has_compatible_shallow_copy_type.default:
        return isinstance(args[0], There) == isinstance(args[1], There)
    leaves = _pytree.tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    foreign = [tensor for tensor in tensors if not isinstance(tensor, There) and tensor.dim()]
    if foreign and len(foreign) < len(tensors) and func not in MIXED:
        raise RuntimeError(f"{func}: tensors on the CPU and on another device")

    def held(leaf: Any) -> Any:
        return leaf.held if isinstance(leaf, There) else torch.device("cpu") if isinstance(leaf, torch.device) else leaf

    made = func(*_pytree.tree_map(held, args), **_pytree.tree_map(held, kwargs))
    if any(leaf.type == "cpu" for leaf in leaves if isinstance(leaf, torch.device)):
        return made
    if func is aten.copy_.default and not isinstance(args[0], There):
        return args[0]

    def there(held: Tensor) -> There:
        with torch.inference_mode(held.is_inference()):  # a view of a weight is none, wherever it is taken
            return There(held)

    made = _pytree.tree_map_only(Tensor, there, made)
    if torch.is_inference_mode_enabled():  # no views are tracked
        return args[0] if func._schema.is_mutable else made
    return return_and_correct_aliasing(func, args, kwargs, made)


class Backend(backend_registration._DummyBackendModule):
    """What torch asks of a device besides its operations."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


@cache
def standin() -> torch.device:
    """The stand-in, made known to torch: new tensors on it come here, and copies to it."""
    backend_registration._setup_privateuseone_for_python_backend("standin", backend_module=Backend())
    library = torch.library.Library("_", "IMPL")
    library.fallback(lambda func, *args, **kwargs: computed(func, args, kwargs), "PrivateUse1")

    @torch.library.impl("aten::_copy_from", "PrivateUse1")
    def copy_from(source: Tensor, target: There, non_blocking: bool = False) -> There:
        target.held.copy_(source)
        return target

    for name in ("arange", "arange.start", "arange.start_step", "eye", "eye.m"):  # torch would fill an empty one
        packet, _, overload = name.partition(".")
        func = getattr(getattr(aten, packet), overload or "default")
        library_impl = torch.library.impl(f"aten::{name}", "PrivateUse1")
        library_impl(lambda *args, func=func, **kwargs: computed(func, args, kwargs))
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    standin.kept = library  # torch forgets a library that nobody holds
    return torch.device("standin", 0)


CPU = torch.device("cpu")


def use(where: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that asks for a device be told this one."""
    original = training.device
    for module in [m for name, m in sys.modules.items() if name.startswith("rumorlib") and m]:
        if getattr(module, "device", None) is original:
            monkeypatch.setattr(module, "device", lambda: where)


def prepared(folder: str) -> None:
    """Once, in a process of their own: the runs of both devices go to `folder`, on drawn corpora of some hundred
    scenes, with one way to do attention for both."""
    sizes = {"n_test": 40, "n_unseen": 10, "n_pairs": 5, "n_undetectable": 10, "n_fingerprint": 20}
    few = DrawnConfig(n_caption_scenes=60, n_train=120, n_dev=60, **sizes)
    inputs.corpus = cache(lambda name, *_: drawn.load(name[-2:], config=few))
    inputs.captions = cache(lambda _, language, *rest: drawn.load_captions(language, config=few))
    interventions.DrawnConfig = looking.DrawnConfig = lambda **_: few
    training.bf16_is_fast = lambda where: False
    torch.backends.mha.set_fastpath_enabled(False)
    os.environ["DEVICES_FOLDER"] = folder


def on_both(kind: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run or study leaves on the CPU and on the stand-in; runs and cached features of each stay apart."""
    made = []
    for where in (CPU, standin()):
        with pytest.MonkeyPatch.context() as patch, sdpa_kernel(SDPBackend.MATH):
            use(where, patch)
            patch.setenv("RUMORLIB_OUTPUT", f"{os.environ['DEVICES_FOLDER']}/{where.type}")
            patch.setenv("RUMORLIB_CACHE", f"{os.environ['DEVICES_FOLDER']}/{where.type}/cache")
            torch.manual_seed(0)
            made.append(left_by(RUNS[name]()) if kind == "run" else {name: STUDIES[name]()})
    return made[0], made[1]


def left_by(run: config.RunConfig) -> dict[str, Any]:
    """Everything a run leaves but its weights."""
    report = results.run_or_load(run, SETTINGS)
    frames = {name: report.extra(Path(name).stem) for name in sorted(report.hashes) if name.startswith("extras/")}
    if run.model != "sclip":
        frames["predictions"] = report.predictions()
    return {"metrics": report.metrics, "history": report.history()} | frames


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPoolExecutor]:
    """A process that has known the stand-in from its start: torch counts devices at its first backward pass."""
    folder = str(tmp_path_factory.mktemp("devices"))
    with ProcessPoolExecutor(1, get_context("spawn"), prepared, (folder,)) as pool:
        yield pool


SETTINGS = config.resolve("demo", ["demo-en"])


def alike(one: Any, other: Any, atol: float = 1e-6) -> None:
    """Raise unless two results hold the same numbers, but for the last digits of float32."""
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-5, atol=atol)
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=False, rtol=1e-5, atol=atol)
    elif isinstance(one, np.ndarray):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=atol)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            alike(one[key], other[key], atol)
    else:
        assert one == (other if isinstance(one, str) else pytest.approx(other, rel=1e-5, abs=atol, nan_ok=True))


def micc_run(**changes: Any) -> config.RunConfig:
    name = "-".join(map(str, changes.values())) or "default"
    return experiments.micc(SETTINGS, "demo-en", 0, name, classifier_input="product", **changes)


def dmfl_run() -> config.RunConfig:
    return experiments.dmfl(
        SETTINGS, "demo-en", 0, "maps", train={"epochs": 2, "patience": None, "record_epochs": (1, 2)}
    )


def distilled() -> config.RunConfig:
    return lightweight.trained(SETTINGS, "demo-en", 0, "product")[2]


RUNS: dict[str, Callable[[], config.RunConfig]] = {
    "sclip": lambda: experiments.sclip(SETTINGS, "en"),
    **{f"micc, {freeze} frozen": partial(micc_run, freeze=freeze) for freeze in ("tokens", "sclip", "nothing")},
    "micc, threshold": partial(micc_run, keep="threshold", top_k=8),
    "dmfl": dmfl_run,
    "dmfl from stage 1": lambda: experiments.dmfl(
        SETTINGS, "demo-en", 0, "TB-stage1", logic_init="stage1", parts="logic_only", alignment="none"
    ),
    **{name: partial(rivals.rival, SETTINGS, "demo-en", name) for name in rivals.MODELS},
    "own": lambda: added.detector(SETTINGS, "demo-en", f"{__name__}:Own"),
    **{kind: partial(experiments.baseline, SETTINGS, "demo-en", kind) for kind in ("text_image_lr", "relevance_lr")},
    "distilled": distilled,
    **{f"compressed to {name}": (lambda name=name: lightweight.compressed(micc_run(), name))
       for name in ("bf16", "int8", "pruned-50")},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_leaves_the_same_on_another_device(name: str, apart: ProcessPoolExecutor) -> None:
    here, there = apart.submit(on_both, "run", name).result()
    if name == "compressed to bf16":  # autocast does nothing on the stand-in
        return alike(here["predictions"], there["predictions"], atol=5e-3)
    alike(here, there)


def bench_run(which: str) -> Any:
    if which == "head":
        made = anatomy.fits(SETTINGS, "demo-en")[anatomy.HONEST][0]
        made = replace(made, detector=replace(made.detector, epochs=4))
        return anatomy._fit(anatomy.HONEST, made, SETTINGS).predictions
    return counterfactuals._fit_micc(counterfactuals.runs(SETTINGS, "demo-en")[1], SETTINGS).predictions


def explained() -> explanations.Explained:
    return explanations.explain(micc_run(), SETTINGS)


def looked() -> dict[str, Any]:
    made = looking.look(dmfl_run(), SETTINGS)
    return {"effects": made.effects, "pointing": made.pointing} | made.scores


def broken() -> pd.DataFrame:
    return breaks.table([explained()], [], SETTINGS)


STUDIES: dict[str, Callable[[], Any]] = {
    "heads": partial(bench_run, "head"),
    "counterfactuals": partial(bench_run, "micc"),
    "explanations": lambda: explanations.patch_table([explained()]),
    "explanations of words": lambda: word_explanations.word_table([word_explanations.explain(explained(), SETTINGS)]),
    "breaks": broken,
    "fingerprints": lambda: probes.fingerprints(micc_run(), SETTINGS),
    "patches kept": lambda: adaptive.n_kept(RUNS["micc, threshold"](), SETTINGS),
    "maps of DMFL": looked,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_reads_the_same_on_another_device(name: str, apart: ProcessPoolExecutor) -> None:
    alike(*apart.submit(on_both, "study", name).result())
