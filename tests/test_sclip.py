"""SCLIP: its loss is the formula, its patches are the convolution's, its scales share one Transformer."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from rumorlib.config import SCLIPConfig, TextConfig, TrainConfig, VisionConfig
from rumorlib.data.batches import CaptionBatch, CaptionTensors, Texts
from rumorlib.encoders.sclip import MAX_LOGIT_SCALE, SCLIP, info_nce, patch_similarity
from rumorlib.encoders.text import FrozenText
from rumorlib.encoders.vision import ImageTower, patch_boxes, unfold
from rumorlib.training import loop

N_WORDS, LENGTH = 20, 7
TINY = SCLIPConfig(
    texts=(
        ("en", TextConfig(width=16, depth=1, n_heads=2, max_length=12)),
        ("zh", TextConfig(width=16, depth=1, n_heads=2, max_length=12, pool="cls")),
    ),
    vision=VisionConfig(image_size_px=32, receptive_fields=(8, 16), width=16, depth=1, n_heads=2),
    d_joint=24,
    dropout=0.0,
)


def sclip(config: SCLIPConfig = TINY, **sizes) -> SCLIP:
    torch.manual_seed(0)
    return SCLIP(config, {"en": N_WORDS, "zh": N_WORDS}, **sizes).eval()


def texts(n: int, seed: int = 1) -> Texts:
    """n random texts of 3 to LENGTH words."""
    random = torch.Generator().manual_seed(seed)
    length = torch.randint(3, LENGTH + 1, (n, 1), generator=random)
    mask = torch.arange(LENGTH) < length
    ids = torch.randint(4, N_WORDS, (n, LENGTH), generator=random)
    ids[:, 0] = 2
    return Texts(ids * mask, mask)


def pixels(n: int, seed: int = 2) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, 32, 32), generator=random, dtype=torch.uint8)


def batch(n_images: int = 8, per_image: int = 1) -> CaptionBatch:
    n = n_images * per_image
    owner = torch.arange(n_images).repeat_interleave(per_image)
    return CaptionBatch(pixels(n_images), {"en": texts(n), "zh": texts(n, seed=3)}, owner)


# --- the loss (M7) ----------------------------------------------------------------------------


def direct_info_nce(logits: list[list[float]], owner: list[int], belongs=None) -> float:
    """The formula by loops: text t against the images it does not belong to; image of pair t against the captions that
    do not belong to it. A text belongs to its own image, and to one that has a caption of the same words."""
    n_texts, n_images = len(logits), len(logits[0])
    if belongs is None:
        belongs = [[owner[t] == i for i in range(n_images)] for t in range(n_texts)]
    total = 0.0
    for t in range(n_texts):
        own = math.exp(logits[t][owner[t]])
        images = sum(math.exp(logits[t][i]) for i in range(n_images) if i == owner[t] or not belongs[t][i])
        captions = sum(math.exp(logits[u][owner[t]]) for u in range(n_texts) if u == t or not belongs[u][owner[t]])
        total -= (math.log(own / images) + math.log(own / captions)) / 2
    return total / n_texts


@pytest.mark.parametrize("owner", [[0, 1, 2, 3], [0, 0, 1, 1, 2, 2], [2, 0, 0, 1, 2, 0]], ids=str)
def test_info_nce_is_the_formula(owner):
    torch.manual_seed(0)
    logits = torch.randn(len(owner), max(owner) + 1, dtype=torch.double) * 3
    loss = info_nce(logits, torch.tensor(owner))
    assert float(loss) == pytest.approx(direct_info_nce(logits.tolist(), owner), abs=1e-12)
    own = torch.tensor(owner)[:, None] == torch.arange(max(owner) + 1)
    assert torch.equal(info_nce(logits, torch.tensor(owner), own), loss)  # without twins not a bit changes
    belongs = own | (torch.rand(own.shape) < 0.3)
    direct = direct_info_nce(logits.tolist(), owner, belongs.tolist())
    assert float(info_nce(logits, torch.tensor(owner), belongs)) == pytest.approx(direct, abs=1e-12)


def test_captions_that_read_the_same_are_no_negatives():
    """Three captions of three pictures, two of them word for word the same, and a perfect model: it scores both of
    their pictures alike, and cannot do otherwise."""
    words = torch.tensor([0, 0, 1])
    belongs = words[:, None] == words[None, :]
    logits, owner = 100 * belongs.double(), torch.arange(3)
    assert float(info_nce(logits, owner)) == pytest.approx(2 / 3 * math.log(2))  # .4621
    assert float(info_nce(logits, owner, belongs)) == pytest.approx(0, abs=1e-12)


def made_captions(words: dict[str, list[list[int]]]) -> CaptionTensors:
    """Captions by image, each a number that stands for its words; all languages caption as many."""
    counts = torch.tensor([len(of_image) for of_image in next(iter(words.values()))])
    owner = torch.arange(len(counts)).repeat_interleave(counts)
    flat = {language: torch.tensor([code for one in given for code in one]) for language, given in words.items()}
    made = {name: Texts(4 + code[:, None], torch.ones(len(code), 1, dtype=torch.bool)) for name, code in flat.items()}
    return CaptionTensors(made, pixels(len(counts)), owner, counts.cumsum(0) - counts, counts, flat)


def test_a_caption_belongs_to_every_picture_that_has_one_of_the_same_words_in_its_language():
    """Also where the batch drew another caption of that picture; and what reads the same in Chinese need not in
    English."""
    english, chinese = [[0, 1], [2, 1, 0], [3, 4]], [[5, 6], [7, 8, 9], [9, 10]]
    data = made_captions({"en": english, "zh": chinese})
    for seed in range(5):
        for drawn in data.shuffled(torch.arange(3), 3, 1, torch.Generator().manual_seed(seed)):
            images = [int((data.images == image).flatten(1).all(1).nonzero()) for image in drawn.images]
            for language, given in (("en", english), ("zh", chinese)):
                texts = (drawn.texts[language].ids - 4).flatten().tolist()
                expected = [[text in given[image] for image in images] for text in texts]
                assert drawn.belongs[language].tolist() == expected


@torch.no_grad()
def test_the_loss_masks_twins_language_by_language_where_the_config_says_so():
    """Runs stored before the mask say so in their config, and are what they were."""
    data = made_captions({"en": [[0, 1], [1, 2], [3, 3]], "zh": [[0, 1], [2, 3], [4, 0]]})
    (shown,) = data.shuffled(torch.arange(3), 3, 2, torch.Generator().manual_seed(0))
    unmasked = dataclasses.replace(TINY, mask_twins=False)
    (masked, before), without = (sclip(config) for config in (TINY, unmasked)), shown._replace(belongs=None)
    scale = masked.logit_scale.exp()
    for language in ("en", "zh"):
        texts = masked.encode_text(shown.texts[language], language)
        logits = scale * masked.similarity(texts, masked.encode_image(shown.images))
        belongs = shown.belongs[language]
        direct = [direct_info_nce(s.tolist(), shown.owner.tolist(), belongs.tolist()) for s in logits.unbind(-1)]
        assert masked.training_loss(shown)[language].item() == pytest.approx(sum(direct) / 2, abs=1e-5)
    assert torch.equal(before.training_loss(shown)["loss"], masked.training_loss(without)["loss"])
    assert before.training_loss(shown)["loss"] > masked.training_loss(shown)["loss"] + 0.05


def test_captions_of_one_image_are_never_each_others_negatives():
    """Raising the score of a sibling caption must not push the other caption down."""
    torch.manual_seed(0)
    logits, owner = torch.randn(4, 2, dtype=torch.double, requires_grad=True), torch.tensor([0, 0, 1, 1])
    by_pair = logits[:, owner].T
    image_to_text = 2 * info_nce(logits, owner) - F.cross_entropy(logits, owner)
    (gradient,) = torch.autograd.grad(image_to_text, logits)
    assert by_pair.shape == (4, 4)
    assert (gradient[owner[:, None] == torch.arange(2)] < 0).all()  # own captions only attract
    assert (gradient[owner[:, None] != torch.arange(2)] > 0).all()


def test_info_nce_does_not_depend_on_the_order_of_pairs_or_images():
    torch.manual_seed(0)
    logits, owner = torch.randn(6, 3, dtype=torch.double), torch.tensor([0, 0, 1, 1, 2, 2])
    pairs, images = torch.randperm(6), torch.randperm(3)
    expected = info_nce(logits, owner)
    torch.testing.assert_close(info_nce(logits[pairs], owner[pairs]), expected)
    torch.testing.assert_close(info_nce(logits[:, images], images.argsort()[owner]), expected)


def test_info_nce_is_symmetric_for_one_caption_per_image():
    torch.manual_seed(0)
    logits, owner = torch.randn(5, 5, dtype=torch.double), torch.arange(5)
    torch.testing.assert_close(info_nce(logits, owner), info_nce(logits.T, owner))


def test_info_nce_of_uniform_scores_is_log_n_and_of_perfect_ones_zero():
    owner = torch.arange(8)
    assert float(info_nce(torch.zeros(8, 8), owner)) == pytest.approx(math.log(8))
    assert float(info_nce(100 * torch.eye(8), owner)) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_mean_over_languages_and_scales():
    model, data = sclip(), batch(4, per_image=2)
    losses = model.training_loss(data)
    patches, scale = model.encode_image(data.images), model.logit_scale.exp()
    for language in ("en", "zh"):
        similarity = model.similarity(model.encode_text(data.texts[language], language), patches)
        per_scale = [direct_info_nce((scale * s).tolist(), data.owner.tolist()) for s in similarity.unbind(-1)]
        assert losses[language].item() == pytest.approx(sum(per_scale) / 2, abs=1e-5)
    torch.testing.assert_close(losses["loss"], (losses["en"] + losses["zh"]) / 2)


# --- the similarity (M6) ----------------------------------------------------------------------


def test_lse_lies_between_mean_and_max():
    torch.manual_seed(0)
    dots = torch.rand(50, 4 + 9) * 2 - 1
    means = torch.stack([part.mean(-1) for part in dots.split([4, 9], -1)], -1)
    maxima = torch.stack([part.amax(-1) for part in dots.split([4, 9], -1)], -1)
    for beta in (1e-3, 0.1, 1.0, 1e3):
        similarity = patch_similarity(dots, [4, 9], "lse", beta)
        assert similarity.shape == (50, 2) and (similarity.abs() <= 1).all()
        assert (similarity <= maxima + 1e-4).all() and (similarity >= means - 1e-3).all()
    torch.testing.assert_close(patch_similarity(dots, [4, 9], "lse", 1e-4), maxima, atol=1e-3, rtol=0)
    torch.testing.assert_close(patch_similarity(dots.double(), [4, 9], "lse", 1e3).double(), means.double(), atol=1e-3,
                               rtol=0)  # fmt: skip


def test_lse_of_equal_patches_is_their_value_at_every_scale():
    dots = torch.full((3, 4 + 36), 0.3)
    torch.testing.assert_close(patch_similarity(dots, [4, 36], "lse", 0.1), torch.full((3, 2), 0.3))


def test_topk_is_the_mean_of_the_best_and_takes_all_of_a_small_scale():
    dots = torch.tensor([[0.5, 0.1, 0.4, -0.2, 0.9]])
    torch.testing.assert_close(patch_similarity(dots, [4, 1], "topk", 0.1, top_k=2), torch.tensor([[0.45, 0.9]]))
    with pytest.raises(ValueError, match="lse or topk"):
        patch_similarity(dots, [4, 1], "median", 0.1)


@pytest.mark.parametrize("how", ["lse", "mean", "topk"])
def test_similarity_of_all_pairs_is_that_of_each_pair(how):
    model = sclip(dataclasses.replace(TINY, similarity=how))
    text, patches = model.encode_text(texts(3), "en"), model.encode_image(pixels(4))
    similarity = model.similarity(text, patches)
    assert similarity.shape == (3, 4, 2) and (similarity.abs() <= 1 + 1e-6).all()
    torch.testing.assert_close(model.similarity(text[1:2], patches[2:3])[0, 0], similarity[1, 2])
    if how != "mean":
        expected = patch_similarity(patches[2] @ text[1], model.n_patches, how, TINY.beta)
        torch.testing.assert_close(similarity[1, 2], expected)


@pytest.mark.parametrize("start", [10.0, 99.9, 150.0, 1e4])
def test_the_temperature_is_clamped_after_the_step_and_never_loses_its_gradient(start):
    """Clamped in the forward pass, a scale above the limit had gradient 0 and stayed there for ever."""
    model, data = sclip().train(), batch()
    with torch.no_grad():
        model.logit_scale.fill_(math.log(start))
    train = TrainConfig(lr=1e-3, precision="fp32")
    sgd = torch.optim.SGD(model.parameters(), lr=train.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: 1.0)
    sgd.zero_grad()
    model.training_loss(data)["loss"].backward()
    loop._step(model, sgd, schedule, train)
    assert model.logit_scale.grad.item() != 0
    assert model.logit_scale.exp().item() <= MAX_LOGIT_SCALE * (1 + 1e-6) and MAX_LOGIT_SCALE == 100
    if start < MAX_LOGIT_SCALE / 2:  # far below the limit a step is what the optimiser makes it
        moved = math.log(start) - train.lr * model.logit_scale.grad.item()
        assert model.logit_scale.item() == pytest.approx(moved, abs=1e-6)
    assert sclip().logit_scale.exp().item() == pytest.approx(1 / 0.07)


# --- the image tower (M3-M5) ------------------------------------------------------------------


@pytest.mark.parametrize("field", [16, 32])
def test_unfold_and_linear_are_the_strided_convolution(field):
    torch.manual_seed(0)
    image = torch.rand(2, 3, 96, 96) * 2 - 1
    linear = torch.nn.Linear(3 * field * field, 24)
    convolved = F.conv2d(image, linear.weight.view(24, 3, field, field), linear.bias, stride=field)
    by_patch = linear(unfold(image, 96 // field))
    torch.testing.assert_close(by_patch, convolved.flatten(2).transpose(1, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "size", "fields"), [
    ("patch_conv", 96, (16, 32)), ("patch_conv", 192, (24, 32, 48, 64)), ("feature_map", 224, (32, 64)),
])  # fmt: skip
def test_patch_boxes_tile_the_image(kind, size, fields):
    config = VisionConfig(kind=kind, image_size_px=size, receptive_fields=fields, width=12, depth=1)
    for boxes, field in zip(patch_boxes(config), fields, strict=True):
        side = round(size / field)
        assert boxes.shape == (side * side, 4)
        x0, y0, x1, y1 = boxes.double().T
        assert float(((x1 - x0) * (y1 - y0)).sum()) == pytest.approx(size * size, rel=1e-6)
        centres = {(float(x), float(y)) for x, y in zip((x0 + x1) / 2, (y0 + y1) / 2, strict=True)}
        assert len(centres) == side * side and boxes.min() == 0 and boxes.max() == size
        assert boxes[0, :2].tolist() == [0, 0] and boxes[side - 1, 2] == size  # row-major, as unfold


def test_patch_n_sees_box_n():
    """Pixels changed inside one box change the embedding of that patch alone, at every scale."""
    tower = sclip().image_tower
    image = pixels(1)
    before = tower._patches(image)
    for s, boxes in enumerate(patch_boxes(TINY.vision)):
        for n, (x0, y0, x1, y1) in enumerate(boxes.int().tolist()):
            changed = image.clone()
            changed[:, :, y0:y1, x0:x1] = 255 - changed[:, :, y0:y1, x0:x1]
            differs = (tower._patches(changed)[s] != before[s]).any(-1)[0]
            assert differs.nonzero().flatten().tolist() == [n]


def test_one_transformer_serves_every_scale():
    """A further scale adds its patch weights, its positions and one scale row, nothing else."""

    def count(fields: tuple[int, ...]) -> int:
        tower = ImageTower(dataclasses.replace(TINY.vision, receptive_fields=fields), None, 0.0)
        return sum(p.numel() for p in tower.parameters())

    width, size = TINY.vision.width, TINY.vision.image_size_px
    for fields, extra in (((8,), 16), ((8, 16), 4), ((8, 16), 32)):
        added = (3 * extra**2 + 1) * width + (size // extra) ** 2 * width + width
        assert count((*fields, extra)) - count(fields) == added


def test_scales_do_not_see_each_other():
    model, image = sclip(), pixels(2)
    both = model.image_tower(image)
    assert both.shape == (2, 16 + 4, 16) and model.n_patches == [16, 4]
    for s, part in enumerate(both.split(model.n_patches, dim=1)):
        alone = model.image_tower._patches(image)[s] + model.image_tower.position[s] + model.image_tower.scale[s]
        torch.testing.assert_close(model.image_tower.layers(alone), part)


def test_feature_map_pools_before_its_linear_to_the_same_end():
    config = dataclasses.replace(TINY.vision, kind="feature_map", image_size_px=224, receptive_fields=(32, 56, 112))
    torch.manual_seed(0)
    tower = ImageTower(config, 10, 0.0)
    image = torch.randn(2, 10, 8, 8)
    normal = F.layer_norm(image.permute(0, 2, 3, 1), (10,)).permute(0, 3, 1, 2)
    patches = tower._patches(image)
    assert [p.shape[1] for p in patches] == [49, 16, 4]
    for side, embedded in zip(tower.sides, patches, strict=True):
        pooled = F.adaptive_avg_pool2d(normal, side).flatten(2).transpose(1, 2)  # (B, N_s, C)
        expected = F.linear(pooled, tower.patch.weight, tower.patch.bias)
        torch.testing.assert_close(embedded, expected, atol=1e-5, rtol=1e-5)
    assert tower(image.half()).shape == (2, 49 + 16 + 4, 16)  # cached maps are fp16


def test_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="d_map"):
        ImageTower(dataclasses.replace(TINY.vision, kind="feature_map"), None, 0.0)
    with pytest.raises(ValueError, match="expected pixels"):
        sclip().encode_image(torch.zeros(1, 3, 48, 48, dtype=torch.uint8))
    with pytest.raises(ValueError, match="do not tile"):
        VisionConfig(image_size_px=100, receptive_fields=(32,))
    with pytest.raises(KeyError, match="no text tower"):
        TINY.text("fr")


# --- both towers ------------------------------------------------------------------------------


@torch.no_grad()
def test_features_have_unit_length():
    model = sclip()
    for features in (
        model.encode_image(pixels(3)),
        model.encode_text(texts(5), "en"),
        model.encode_text(texts(5), "zh"),
    ):
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(features.shape[:-1]))


@torch.no_grad()
@pytest.mark.parametrize("language", ["en", "zh"])
def test_padding_does_not_change_a_text(language):
    model, short = sclip(), texts(4)
    longer = Texts(F.pad(short.ids, (0, 4)), F.pad(short.mask, (0, 4)))
    torch.testing.assert_close(model.encode_text(longer, language), model.encode_text(short, language))
    other = Texts(longer.ids.masked_fill(~longer.mask, 5), longer.mask)  # whatever stands in the padding
    torch.testing.assert_close(model.encode_text(other, language), model.encode_text(short, language))


def test_a_frozen_text_tower_passes_its_features_on():
    config = dataclasses.replace(TINY, texts=(("en", TextConfig(kind="frozen")),))
    model = sclip(config, d_text={"en": 6})
    features = model.encode_text(Texts(None, None, torch.randn(3, 6).half()), "en")
    assert features.shape == (3, 24)
    assert not [name for name, _ in model.named_parameters() if name.startswith("text_towers")]


@pytest.mark.parametrize("how", ["lse", "mean", "topk"])
def test_gradients_reach_every_parameter(how):
    model = sclip(dataclasses.replace(TINY, similarity=how)).train()
    model.training_loss(batch(8, per_image=2))["loss"].backward()
    silent = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.any() or not p.grad.isfinite().all()
    ]
    assert not silent


def test_overfits_eight_pairs():
    model, data = sclip().train(), batch(8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = model.training_loss(data)["loss"].item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.training_loss(data)["loss"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 < 1 < first
    model.eval()
    similarity = model.similarity(model.encode_text(data.texts["en"], "en"), model.encode_image(data.images)).mean(-1)
    assert similarity.argmax(1).tolist() == similarity.argmax(0).tolist() == list(range(8))


def test_whitened_features_lean_no_way_and_keep_the_order_of_what_differs() -> None:
    """Texts that all point one way, one direction wide: then no mean and one variance; rounding is not blown up."""
    torch.manual_seed(0)
    features = 5 + torch.randn(4000, 6) * torch.tensor([3.0, 2.0, 2.0, 2.0, 2.0, 1e-3])
    tower = FrozenText(6, whiten=True).eval()
    read = Texts(None, None, features)
    torch.testing.assert_close(tower(read), features)
    tower.whiten_by(features)
    made = tower(read)
    torch.testing.assert_close(made.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    spread = made.std(0)
    torch.testing.assert_close(spread[:5], torch.ones(5), atol=0.05, rtol=0)
    assert spread[5] < 0.01 and {"mean", "map"} == set(tower.state_dict())
    assert not FrozenText(6).state_dict()
