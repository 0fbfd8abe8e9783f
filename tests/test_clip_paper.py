"""Profile paper on CLIP, Chinese-CLIP, BERT and ViT folders with random weights, one layer deep, else as published."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from rumorlib import config as cfg
from rumorlib import inputs, results
from rumorlib.commands import execute
from rumorlib.experiments import rivals

SHALLOW = {"num_hidden_layers": 1, "intermediate_size": 64}
THIN = {
    "num_hidden_layers": 12,
    "hidden_size": 48,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}  # all of which learn
SCALING = {"do_rescale": True, "do_normalize": True, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
WORDS = {"en": ["storm", "over", "the", "city", "!", "old", "news"], "zh": list("城市上空的风暴旧闻")}
CAPTIONS = {"en": "flickr30k", "zh": "coco_cn"}


def folders(weights: Path, language: str) -> None:
    """The encoders profile paper names for a language, with kernels, widths, projections and tokenizers."""
    import transformers as hf

    torch.manual_seed(0)
    chinese = language == "zh"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS[language]]
    bert = hf.BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)})
    images = SHALLOW | {"hidden_size": 768, "image_size": 224, "patch_size": 16 if chinese else 32}
    texts = SHALLOW | {"vocab_size": 60, "hidden_size": 768 if chinese else 512}
    if chinese:
        config = hf.ChineseCLIPConfig(text_config=texts, vision_config=images, projection_dim=512)
        saving = {"chinese-clip-vit-base-patch16": (hf.ChineseCLIPModel(config), bert)}
    else:
        saving = {}
    ends = {"bos_token_id": 53, "eos_token_id": 54, "pad_token_id": 54}
    config = hf.CLIPConfig(text_config=SHALLOW | {"vocab_size": 60, "hidden_size": 512} | ends,
                           vision_config=images | {"patch_size": 32}, projection_dim=512)  # fmt: skip
    letters = [*"abcdefghijklmnopqrstuvwxyz!"]
    known = ["!", *letters[:-1], *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    words = hf.CLIPTokenizer(vocab={piece: i for i, piece in enumerate(known)}, merges=[])
    saving["clip-vit-base-patch32"] = hf.CLIPModel(config), words
    name = "bert-base-chinese" if chinese else "bert-base-uncased"
    saving[name] = hf.BertModel(hf.BertConfig(**SHALLOW | THIN, vocab_size=60)), bert
    saving["vit-base-patch16-224"] = hf.ViTModel(hf.ViTConfig(**SHALLOW)), None
    for name, (model, tokenizer) in saving.items():
        model.save_pretrained(weights / name)
        (weights / name / "preprocessor_config.json").write_text(json.dumps(SCALING))
        if tokenizer is not None:
            tokenizer.save_pretrained(weights / name)


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)


def said(language: str, seed: int) -> str:
    gap = "" if language == "zh" else " "
    return gap.join(np.random.default_rng(seed).permutation(WORDS[language])[:5])


def corpora(root: Path, language: str) -> None:
    """24 posts and 16 captioned pictures, in the layouts that profile paper reads."""
    name, sides = f"mfan_{'weibo' if language == 'zh' else 'pheme'}", ["train"] * 4 + ["dev", "test"]
    rows = [{"id": f"p{i}", "text": said(language, i), "label": i % 2, "image": f"images/{i}.png",
             "split": sides[i // 2 % 6], "event": f"e{i % 3}"} for i in range(24)]  # fmt: skip
    for i in range(24):
        picture(root / name / "images" / f"{i}.png", i)
    pd.DataFrame(rows).to_csv(root / name / "manifest.csv", index=False)
    side = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    if language == "en":
        images = [{"filename": f"{i}.jpg", "split": side[i], "sentences": [{"raw": said("en", 50 + i), "tokens": []}]}
                  for i in range(16)]  # fmt: skip
        for i in range(16):
            picture(root / "flickr30k" / "flickr30k-images" / f"{i}.jpg", 100 + i)
        (root / "flickr30k" / "dataset_flickr30k.json").write_text(json.dumps({"images": images}))
        return
    place, names = root / "coco_cn", [f"COCO_val2014_{i:012d}" for i in range(1, 17)]
    place.mkdir()
    for i, one in enumerate(names):
        picture(place / "val2014" / f"{one}.jpg", 200 + i)
    lines = "".join(f"{one}#0\t{said('zh', 50 + i)}\n" for i, one in enumerate(names))
    (place / "imageid.human-written-caption.txt").write_text(lines, encoding="utf-8")
    for split in ("train", "val", "test"):
        listed = "\n".join(one for one, its in zip(names, side) if its == split)
        (place / f"coco-cn_{split}.txt").write_text(listed + "\n")


@pytest.fixture(scope="module", params=["en", "zh"])
def at_paper(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp(f"paper-{request.param}")
    folders(root / "weights", request.param)
    corpora(root, request.param)
    return request.param, root


@pytest.fixture
def settings(at_paper: tuple[str, Path], output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cfg.Settings:
    """Profile paper on one corpus, first seed."""
    language, root = at_paper
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    return cfg.resolve("paper", ["mfan-weibo" if language == "zh" else "mfan-pheme"], [0], data=str(root))


@torch.no_grad()
def test_the_clip_row_is_clip(settings: cfg.Settings) -> None:
    """Texts and patches in the joint space are what the library's own model gives; padding and an id 0 play no part."""
    from transformers import AutoModel, AutoTokenizer

    (row,) = rivals.single_scale(settings)
    run, language = row.stage1, row.language
    place = settings.data_root / "weights" / run.sclip.vision.weights
    model, theirs = inputs.new_sclip(run, settings).eval(), AutoModel.from_pretrained(place).eval()
    texts = [said(language, 1), said(language, 2)[:3] + "!", "!"]
    found = model.encode_text(inputs.encode_texts(texts, run, language, settings), language)
    tokenizer = AutoTokenizer.from_pretrained(place)
    for text, vector in zip(texts, found, strict=True):
        own = theirs.get_text_features(**tokenizer(text, return_tensors="pt")).pooler_output[0]
        torch.testing.assert_close(vector, F.normalize(own, dim=-1), atol=1e-5, rtol=1e-4)
    pixels = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    mean, std = (torch.tensor(SCALING[name]).view(1, 3, 1, 1) for name in ("image_mean", "image_std"))
    rows = theirs.vision_model(pixel_values=(pixels.float() / 255 - mean) / std).last_hidden_state[:, 1:]
    own = theirs.visual_projection(theirs.vision_model.post_layernorm(rows))
    torch.testing.assert_close(model.encode_image(pixels), F.normalize(own, dim=-1), atol=1e-4, rtol=1e-3)
    assert not any(p.requires_grad for name, p in model.named_parameters() if "tower" in name), "frozen"
    thawed = replace(run, sclip=replace(run.sclip, vision=replace(run.sclip.vision, freeze_towers=False)))
    assert all(p.requires_grad for p in inputs.new_sclip(thawed, settings).parameters()), "trained"


def test_micc_trains_on_clip(settings: cfg.Settings) -> None:
    """MICC-SCLIP end to end, and a logistic regression on both towers."""
    for run in (*rivals.single_scale(settings), *rivals.of_clip(settings)):
        report = results.run_or_load(replace(run, train=replace(run.train, epochs=1)), settings)
        assert 0 <= report.metrics["test"]["auc"] <= 1 and report.config.stage1.sclip.head == "clip"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("at_paper", ["en"], indirect=True)
def test_notebooks_02_and_03_run_at_profile_paper(settings: cfg.Settings) -> None:
    given = {"profile": "paper", "datasets": list(settings.datasets), "seeds": [0]}
    with cfg.environment(RUMORLIB_DATA=str(settings.data_root)):
        prepared = [(path, given) for path in execute.find(("02", "03"), execute.NOTEBOOKS)]
        assert not {path.stem: problem for path, problem in execute.each(prepared, "paper", execute.Options(workers=1))
                    if problem}  # fmt: skip
    tables = cfg.output_root() / "results" / "paper" / "tables"
    models = set(pd.read_csv(tables / "m_e2.csv")["model"])
    assert {"MICC (literal)", "MICC-SCLIP (CLIP)", "LR on CLIP"} <= models
    fields = pd.read_csv(tables / "m_e1_variants.csv")["receptive_fields"]
    assert "[32,64]" in set(fields), "true convolutions started from CLIP"
