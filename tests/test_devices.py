"""Models, runs and studies on another device than the CPU, with none at hand.

Three stand-ins. `FakeTensorMode` knows shapes and devices as torch's own kernels see them: the tensor half of every
model passes with weights and batch on "cuda", and a tensor left on the CPU is an error. The meta device takes training
steps. And a device of our own, whose tensors hold CPU tensors: whole runs and studies pass on it, backward passes
included, and leave what they leave on the CPU; a tensor forgotten on the CPU, or made an array before
it came back, is an error there too. Tests marked `gpu` ask the same of a real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import use_few_scenes
from test_rivals import SMALL as RIVALS
from test_rivals import model as rival_model
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree, backend_registration
from torch.utils._python_dispatch import return_and_correct_aliasing

from rumorlib import config, experiments, results
from rumorlib.config import (
    CompressionConfig,
    ControlConfig,
    DistillationConfig,
    DMFLConfig,
    MICCConfig,
    SCLIPConfig,
    TextConfig,
    TrainConfig,
    VisionConfig,
)
from rumorlib.data import batches
from rumorlib.data.batches import Aligned, Batch, CaptionTensors, PostTensors, Texts
from rumorlib.encoders.clip import CLIPLayers
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vocabulary import CLS, PAD, SEP
from rumorlib.experiments import added, rivals
from rumorlib.models import micc
from rumorlib.models.dmfl import DMFL
from rumorlib.models.heads import Heads
from rumorlib.models.micc import MICC
from rumorlib.results import circumstances, migrations, trained
from rumorlib.studies.explanations import breaks, explanations, looking, probes, word_explanations
from rumorlib.training import compression_runs, computation, evidence, loop

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


def micc_model(reads: str = "images", taught: bool = False, **changes: Any) -> tuple[MICC, Batch]:
    """MICC on what posts bring: pixels, patch tokens, joint patches, or patches already aligned."""
    freeze = {"images": "nothing", "tokens": "tokens"}.get(reads, "sclip")
    chosen = MICCConfig(width=8, freeze=freeze, **changes)
    model = MICC(chosen, sclip(), "en")
    patches = nn.functional.normalize(rows(sum(N_PATCHES), 16), dim=-1)
    images: Tensor | Aligned = {"images": pixels(), "tokens": rows(20, 16).half()}.get(reads, patches.half())
    if reads == "aligned":
        images = micc.align(chosen, N_PATCHES, patches[:, 0], patches, torch.arange(B))
    if taught:
        model.learn_from(torch.randn(B), DistillationConfig())
    return model, posts(images)._replace(text_features=patches[:, 1] if freeze == "sclip" else None)


def dmfl_model(**changes: Any) -> tuple[DMFL, Batch]:
    sizes = {"d_model": 12, "n_heads": 2, "d_head": 4, "logic_width": 12, "logic_depth": 1, "logic_heads": 2}
    text = TextConfig(kind="frozen", weights="any")
    chosen = DMFLConfig(**sizes | ({"logic_text": text} if changes.get("logic_init") == "bert" else {}) | changes)
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
    **{f"micc {how}": partial(micc_model, controls=ControlConfig(how)) for how in ("random", "bottom", "saliency")},
    **{f"micc by {how}": partial(micc_model, top_k=3, controls=ControlConfig(keep=how))
       for how in ("mass", "threshold")},
    **{f"micc fused by {how}": partial(micc_model, fusion=how) for how in ("concat", "mean")},
    **{f"micc reads {how}": partial(micc_model, classifier_input=how) for how in ("product", "relevance")},
    "micc taught": partial(micc_model, taught=True),
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
    model.training_loss(batch)["loss"].backward()
    loop._step(model, sgd, schedule, TrainConfig())
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
    original = loop.device
    for module in [m for name, m in sys.modules.items() if name.startswith("rumorlib") and m]:
        if getattr(module, "device", None) is original:
            monkeypatch.setattr(module, "device", lambda: where)


def prepared(folder: str) -> None:
    """Once, in a process of their own: the runs of both devices go to `folder`, on few scenes, with one way to do
    attention for both."""
    use_few_scenes(pytest.MonkeyPatch())
    loop.bf16_is_fast = lambda where: False
    torch.backends.mha.set_fastpath_enabled(False)
    os.environ["DEVICES_FOLDER"] = folder


def on_both(kind: str, name: str, there: str = "standin") -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run or study leaves on the CPU and on another device; runs and cached features of each stay apart."""
    made, plainly = [], there == "cuda"
    for where in (CPU, batches.device() if plainly else standin()):
        with pytest.MonkeyPatch.context() as patch, nullcontext() if plainly else sdpa_kernel(SDPBackend.MATH):
            use(where, patch)
            patch.setenv("RUMORLIB_OUTPUT", f"{os.environ['DEVICES_FOLDER']}/{there}/{where.type}")
            patch.setenv("RUMORLIB_CACHE", f"{os.environ['DEVICES_FOLDER']}/{there}/{where.type}/cache")
            if not plainly:
                patch.setattr(batches, "free_bytes", lambda _: 0 if "streamed" in name else 2**40)
            torch.manual_seed(0)
            made.append({name: STUDIES[name]()} if kind == "study" else left_by(RUNS[name](), plainly))
    return made[0], made[1]


def plain(run: config.RunConfig | None) -> config.RunConfig | None:
    """The run, and those it starts from, in fp32 and without dropout, which each device draws for itself."""
    if run is None:
        return None
    detector = replace(run.detector, dropout=0.0) if hasattr(run.detector, "dropout") else run.detector
    sclip_config = run.sclip and replace(run.sclip, dropout=0.0, feature_dropout=0.0)
    return replace(run, detector=detector, sclip=sclip_config, stage1=plain(run.stage1), parent=plain(run.parent),
                   train=replace(run.train, precision="fp32"))  # fmt: skip


def left_by(run: config.RunConfig, plainly: bool = False) -> dict[str, Any]:
    """Everything a run leaves but its weights."""
    report = results.run_or_load(plain(run) if plainly else run, SETTINGS)
    frames = {name: report.extra(Path(name).stem) for name in sorted(report.hashes) if name.startswith("extras/")}
    if run.model != "sclip":
        frames["predictions"] = report.predictions()
    frames |= {"computation": report.facts["computation"], "history": report.history()}
    return {"metrics": report.metrics} | frames


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
    name = "-".join(str(getattr(value, "keep", value)) for value in changes.values()) or "default"
    return experiments.micc(SETTINGS, "demo-en", 0, name, classifier_input="product", **changes)


def dmfl_run() -> config.RunConfig:
    return experiments.dmfl(
        SETTINGS, "demo-en", 0, "maps", train={"epochs": 2, "patience": None, "record_epochs": (1, 2)}
    )


def head_run() -> config.RunConfig:
    made = experiments.anatomy_runs(SETTINGS, "demo-en")[experiments.HONEST][0]
    return replace(made, detector=replace(made.detector, epochs=4))


def distilled() -> config.RunConfig:
    return experiments.micc_sizes(SETTINGS, "demo-en", 0, "product")[2]


RUNS: dict[str, Callable[[], config.RunConfig]] = {
    "sclip": lambda: experiments.sclip(SETTINGS, "en"),
    **{f"micc, {freeze} frozen": partial(micc_run, freeze=freeze) for freeze in ("tokens", "sclip", "nothing")},
    "micc, threshold": partial(micc_run, controls=ControlConfig(keep="threshold"), top_k=8),
    "micc, streamed": lambda: replace(micc_run(), variant="streamed"),
    "dmfl": dmfl_run,
    "dmfl from stage 1": lambda: experiments.dmfl(
        SETTINGS, "demo-en", 0, "TB-stage1", logic_init="stage1", parts="logic_only", alignment="none"
    ),
    **{name: partial(rivals.rival, SETTINGS, "demo-en", name) for name in config.OTHERS},
    "own": lambda: added.detector(SETTINGS, "demo-en", f"{__name__}:Own"),
    **{kind: partial(experiments.baseline, SETTINGS, "demo-en", kind) for kind in ("text_image_lr", "relevance_lr")},
    "distilled": distilled,
    "exchanged": lambda: experiments.exchanged_runs(SETTINGS, "demo-en")[1],
    "heads": head_run,
    **{f"compressed to {name}": (lambda name=name: experiments.compressed(micc_run(), name))
       for name in ("bf16", "int8", "pruned-50")},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_leaves_the_same_on_another_device(name: str, apart: ProcessPoolExecutor) -> None:
    here, there = apart.submit(on_both, "run", name).result()
    if name == "compressed to bf16":  # autocast does nothing on the stand-in
        return alike(here["predictions"], there["predictions"], atol=5e-3)
    alike(here, there)


def explained() -> dict[str, pd.DataFrame]:
    one = explanations.explain(micc_run(), SETTINGS)
    words = word_explanations.explain(one, SETTINGS)
    return {"patches": explanations.patch_table([one]), "words": word_explanations.word_table([words]),
            "breaks": breaks.table([one], [], SETTINGS)}  # fmt: skip


def looked() -> dict[str, Any]:
    made = looking.look(dmfl_run(), SETTINGS)
    return {"effects": made.effects, "pointing": made.pointing} | made.scores


STUDIES: dict[str, Callable[[], Any]] = {
    "explanations and breaks": explained,
    "fingerprints": lambda: probes.fingerprints(micc_run(), SETTINGS),
    "patches kept": lambda: evidence.kept_by_clutter(*trained.micc(RUNS["micc, threshold"](), SETTINGS))["kept"],
    "maps of DMFL": looked,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_reads_the_same_on_another_device(name: str, apart: ProcessPoolExecutor) -> None:
    alike(*apart.submit(on_both, "study", name).result())


# --- what stays on a device and what is streamed ------------------------------------------------------


def test_the_smallest_parts_stay_while_they_fit_into_their_share() -> None:
    assert batches.staying([30, 10, 20], free=60) == [False, True, True]
    assert batches.staying([30, 10, 20], free=120) == [True, True, True]
    assert batches.staying([30, 10, 20], free=60, share=0.1) == [False, False, False]
    assert batches.staying([10, 0], free=0) == [False, True] and batches.staying([], 5) == []


def where_parts_lie(free: int) -> tuple[list[str], set[str]]:
    """Devices of texts and images when so many bytes are free, and those of everything in a batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "free_bytes", lambda _: free)
        read = PostTensors(texts(), rows(), torch.arange(B), torch.zeros(B), torch.ones(B)).on(standin())
    batch = read.batch(torch.tensor([1, 3]))
    tensors = [part for part in batch if isinstance(part, Tensor)]
    assert torch.equal(batch.images.cpu(), rows()[[1, 3]]) and batch.row.cpu().tolist() == [1, 3]
    assert (batch.n_columns, batch.n_pieces) == (6, 6)
    return [read.texts.ids.device.type, read.images.device.type], {part.device.type for part in tensors}


@pytest.mark.slow
def test_what_does_not_fit_is_streamed(apart: ProcessPoolExecutor) -> None:
    size = rows().nbytes
    found = [apart.submit(where_parts_lie, free).result() for free in (0, size, 8 * size)]
    assert [lie for lie, _ in found] == [["cpu", "cpu"], ["standin", "cpu"], ["standin", "standin"]]
    assert all(of_batch == {"standin"} for _, of_batch in found)


def test_a_tensor_goes_to_a_gpu_through_pinned_memory_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned, waits = [], []
    to = Tensor.to
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    monkeypatch.setattr(
        Tensor, "to", lambda self, where, non_blocking: waits.append(not non_blocking) or to(self, where)
    )
    with FakeTensorMode():
        there = batches.sent(torch.ones(3), torch.device("cuda", 0))
        assert batches.sent(there, torch.device("cuda", 0)) is there and batches.sent(there, CPU).device == CPU
    here = torch.ones(3)
    assert batches.sent(here, CPU) is here and len(pinned) == 1 and waits == [False, False, True, True]


def test_columns_that_nobody_uses_are_counted_once_and_never_on_the_device() -> None:
    read = PostTensors(texts(), rows(), torch.arange(B), torch.zeros(B), torch.ones(B))
    lengths = read.texts.mask.sum(1)
    for chosen in ([0], [1, 4], list(range(B))):
        batch = read.batch(torch.tensor(chosen))
        assert batch.n_columns == batch.n_pieces == lengths[chosen].max()
        assert batches.used_columns(batch.text_mask, None) == batch.n_columns
        assert batch.posts(torch.tensor([0])).n_columns is None
    assert batches.used_columns(torch.zeros(2, 3, dtype=torch.bool), None) == 1
    assert batches.used_columns(torch.zeros(0, 3, dtype=torch.bool), None) == 1


# --- seeds, precision, determinism, and what a report says ----------------------------------------------


def test_a_seed_is_given_to_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    loop.seed_everything(7)
    assert seeds == [7] and torch.initial_seed() == 7


@pytest.mark.parametrize(
    ("asked", "type_", "is_fast", "made_in"),
    [
        ("auto", "cuda", True, "bf16"), ("auto", "cuda", False, "fp32"), ("auto", "cpu", False, "fp32"),
        ("fp32", "cuda", True, "fp32"), ("tf32", "cuda", True, "tf32"), ("tf32", "cuda", False, "fp32"),
        ("tf32", "cpu", True, "fp32"), ("bf16", "cpu", False, "bf16"),
    ],
)  # fmt: skip
def test_products_are_made_in_what_the_config_says(
    asked: str, type_: str, is_fast: bool, made_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "bf16_is_fast", lambda where: is_fast)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where=None: (9 if is_fast else 7, 0))
    where, chosen = torch.device(type_), TrainConfig(precision=asked)
    assert loop.precision(chosen, where) == made_in
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with loop.tf32(chosen, where):
        found = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert found == ((True, True) if made_in == "tf32" else before)
    assert before == (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)


def test_a_step_of_bf16_is_one_and_what_is_measured_is_not() -> None:
    model, batch = MODELS["spotfake"]()
    seen = []
    model.classifier.register_forward_hook(lambda _, given, made: seen.append((model.training, made.dtype)))

    def dev_loss() -> dict[str, float]:
        with torch.no_grad():
            return {"loss": float(model.eval().training_loss(batch)["loss"])}

    train = TrainConfig(epochs=1, precision="bf16")
    assert loop.fit(model, lambda _: [batch], 1, dev_loss, train, 0).precision == "bf16"
    assert seen == [(True, torch.bfloat16), (False, torch.float32)]


@pytest.mark.parametrize(("bf16", "precision"), [(True, "auto"), (False, "fp32")])
def test_runs_from_before_say_their_precision(bf16: bool, precision: str) -> None:
    stored = config.as_dict(experiments.sclip(SETTINGS, "en"))
    old = stored | {"train": {k: v for k, v in stored["train"].items() if k != "precision"} | {"bf16": bf16}}
    assert migrations.upgraded(old) == stored | {"train": stored["train"] | {"precision": precision}}


def test_compressed_weights_are_multiplied_in_bf16_on_their_own_device(apart: ProcessPoolExecutor) -> None:
    assert apart.submit(autocast_of_a_compressed_run).result() == [False, True, False, True]


def autocast_of_a_compressed_run() -> list[bool]:
    made = []
    for where in (CPU, standin()):
        for how in ("fp32", "bf16"):
            with compression_runs.in_precision(CompressionConfig(how), where):
                made.append(torch.is_autocast_enabled(where.type))
    return made


def test_deterministic_kernels_are_an_option() -> None:
    code = (
        "import os, rumorlib; from rumorlib.data import batches; import torch; batches.device(); "
        "print(os.environ.get('CUBLAS_WORKSPACE_CONFIG'), torch.are_deterministic_algorithms_enabled())"
    )
    given = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"} | {"RUMORLIB_DETERMINISTIC": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ":4096:8 True"
    assert bool(os.environ.get("RUMORLIB_DETERMINISTIC")) == torch.are_deterministic_algorithms_enabled()


def test_a_fingerprint_is_computed_on_the_cpu_wherever_runs_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is another on a GPU: heads made there would be taken for another computation."""
    head = replace(head_run(), variant="here")
    expected = computation.fingerprint(head)
    use(torch.device("meta"), monkeypatch)
    computation._computed.cache_clear()
    assert computation.fingerprint(head) == expected


def test_a_report_says_where_the_run_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    with circumstances.measured() as took:
        pass
    assert took["device"] == "cpu" and took["peak_memory_mib"] > 0 and took["time_s"] < 5
    held = [3 * 2**20]
    for name, made in {
        "is_available": lambda: True, "init": lambda: None, "reset_peak_memory_stats": lambda: None,
        "memory_allocated": lambda: held[0], "max_memory_allocated": lambda: held[-1],
        "get_device_name": lambda: "a GPU",
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, made)
    with circumstances.measured() as idle:  # what an earlier run left there is not this one's
        pass
    with circumstances.measured() as busy:
        held.append(9 * 2**20)
    assert idle["device"] == "cpu" and "host_peak_memory_mib" not in idle
    assert (busy["device"], busy["peak_memory_mib"]) == ("a GPU", 9)
    assert busy["host_peak_memory_mib"] >= took["peak_memory_mib"]


# --- a real GPU -----------------------------------------------------------------------------------------

# Ten times what another order of adding changes on a CPU (without oneDNN and fused attention: losses by 1.4e-5,
# log-odds by 4e-4, of a regression on stage 1's relevance by 1e-3); dropout left out, products in fp32.
LOSSES, LOG_ODDS = 2e-4, 1e-2
ON_A_GPU = [name for name in RUNS if name not in ("compressed to bf16", "compressed to int8", "micc, streamed")]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", ON_A_GPU)
def test_a_run_on_a_gpu_is_the_cpus(name: str, apart: ProcessPoolExecutor) -> None:
    here, there = apart.submit(on_both, "run", name, "cuda").result()
    alike(here["history"], there["history"], atol=LOSSES)
    if "predictions" in here:
        alike(here["predictions"], there["predictions"], atol=LOG_ODDS)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("asked", ["fp32", "tf32", "bf16"])
def test_a_gpu_learns_in_every_precision_and_reports_what_it_took(asked: str, few_drawn: config.Settings) -> None:
    made = experiments.sclip(few_drawn, "en")
    report = results.run_or_load(replace(made, train=replace(made.train, precision=asked)), few_drawn)
    losses = report.history()["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0] and report.facts["precision"] in (asked, "fp32")
    assert report.facts["device"] == torch.cuda.get_device_name() and report.facts["peak_memory_mib"] > 0
