"""Frozen features: equal to the network's own output, computed once, resumable, and never silently wrong."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rumorlib.encoders import feature_store, frozen

WORDS = ["storm", "bridge", "river", "is", "fake", "news", "the", "a"]
TEXTS = ["the storm", "a bridge is fake news", "", "river", "the storm", "unknownword storm " * 9]


class DrawnImages:
    """Pictures from a seed; key "3b" shows the same picture as "3". Counts what is decoded."""

    def __init__(self, fail_after=None):
        self.decoded, self.fail_after = [], fail_after

    def pixels(self, key, size_px):
        if self.fail_after is not None and len(self.decoded) >= self.fail_after:
            raise KeyboardInterrupt
        self.decoded.append(key)
        return np.random.default_rng(int(key.rstrip("b"))).integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)

    def content_hash(self, key):
        return hashlib.sha256(key.rstrip("b").encode()).hexdigest()


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    return folder


def write_preprocessing(folder, mean, std):
    scaling = {
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(scaling))


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    from transformers import MobileNetV2Config, MobileNetV2Model

    folder = tmp_path_factory.mktemp("mobilenet")
    torch.manual_seed(0)
    MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.35, image_size=64)).save_pretrained(folder)
    write_preprocessing(folder, [0.5, 0.4, 0.3], [0.5, 0.6, 0.7])
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    ViTModel(ViTConfig(**sizes, image_size=32, patch_size=16)).save_pretrained(folder)
    write_preprocessing(folder, [0.5] * 3, [0.5] * 3)
    return folder


@pytest.fixture
def rows_encoded(monkeypatch):
    """Rows that went through a network, per forward call."""
    from transformers import BertModel, MobileNetV2Model

    calls = []
    for model, name in ((BertModel, "input_ids"), (MobileNetV2Model, "pixel_values")):
        forward = model.forward

        def counted(self, *args, _forward=forward, _name=name, **kwargs):
            calls.append(len(kwargs[_name]))
            return _forward(self, *args, **kwargs)

        monkeypatch.setattr(model, "forward", counted)
    return calls


def texts(bert, cache, given=TEXTS, **options):
    return frozen.text_features(given, bert, cache, progress=False, precision="fp32", **options)


def maps(mobilenet, cache, keys, images=None, size_px=64, **options):
    return frozen.image_maps(images or DrawnImages(), keys, mobilenet, size_px, cache, progress=False, **options)


def test_text_features_equal_the_mean_of_hidden_states(bert, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    found = texts(bert, tmp_path)
    assert found.shape == (6, 16) and found.dtype == torch.float16
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    for text, features in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        assert torch.allclose(features.float(), hidden.mean(0), atol=2e-3)
    assert not torch.allclose(found[1], found[0], atol=1e-2)


def test_each_distinct_text_is_encoded_once(bert, tmp_path, rows_encoded):
    first = texts(bert, tmp_path)
    assert sum(rows_encoded) == 5  # six texts, one twice
    assert torch.equal(first[0], first[4])
    again = texts(bert, tmp_path, TEXTS[::-1])
    assert sum(rows_encoded) == 5
    assert torch.equal(again, first.flip(0))
    texts(bert, tmp_path, [*TEXTS, "news"])
    assert sum(rows_encoded) == 6


def test_another_length_is_another_cache(bert, tmp_path, rows_encoded):
    long, short = texts(bert, tmp_path), texts(bert, tmp_path, max_length=4)
    assert sum(rows_encoded) == 10
    assert torch.allclose(long[3], short[3], atol=2e-3) and not torch.allclose(long[1], short[1], atol=1e-2)


def test_image_maps_equal_the_network(mobilenet, tmp_path):
    from transformers import AutoModel

    images = DrawnImages()
    found = maps(mobilenet, tmp_path, ["2", "0", "1"], images)
    assert found.shape == (3, 1280, 2, 2) and found.dtype == torch.float16
    model = AutoModel.from_pretrained(mobilenet).eval()
    for key, features in zip(["2", "0", "1"], found, strict=True):
        scaled = (images.pixels(key, 64) / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.6, 0.7]
        with torch.no_grad():
            hidden = model(pixel_values=torch.tensor(scaled).float().permute(2, 0, 1)[None]).last_hidden_state[0]
        assert torch.allclose(features.float(), hidden, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("size_px", "side"), [(32, 2), (64, 4)])
def test_vit_tokens_become_a_grid(vit, tmp_path, size_px, side):
    from transformers import AutoModel

    images = DrawnImages()
    found = maps(vit, tmp_path, ["5"], images, size_px)
    assert found.shape == (1, 16, side, side)
    pixels = torch.tensor(images.pixels("5", size_px) / 127.5 - 1).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        tokens = AutoModel.from_pretrained(vit).eval()(pixel_values=pixels, interpolate_pos_encoding=True)
    assert torch.allclose(found[0, :, 1, 0].float(), tokens.last_hidden_state[0, 1 + side], atol=2e-3)


def test_a_vits_own_cls_row_comes_first_where_asked_for(vit, mobilenet, tmp_path):
    from transformers import AutoModel

    images = DrawnImages()
    rows, grid = (maps(vit, tmp_path, ["5", "1"], images, 32, cls=cls) for cls in (True, False))
    assert rows.shape == (2, 1 + 4, 16)
    assert torch.equal(rows[:, 1:], grid.flatten(2).transpose(1, 2))  # neither cache is taken for the other
    pixels = torch.tensor(images.pixels("5", 32) / 127.5 - 1).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = AutoModel.from_pretrained(vit).eval()(pixel_values=pixels).last_hidden_state[0, 0]  # LN(z_L)
    assert torch.allclose(rows[0, 0].float(), expected, atol=2e-3)
    with pytest.raises(ValueError, match=r"no \[CLS\] row"):
        maps(mobilenet, tmp_path, ["1"], cls=True)


def test_each_distinct_picture_is_encoded_once(mobilenet, tmp_path, rows_encoded):
    images = DrawnImages()
    found = maps(mobilenet, tmp_path, ["3", "1", "3b", "1"], images)
    assert sum(rows_encoded) == 2 and len(images.decoded) == 2
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])
    again = maps(mobilenet, tmp_path, ["1", "3b"], images)
    assert sum(rows_encoded) == 2 and len(images.decoded) == 2
    assert torch.equal(again, found[1:3])


def test_killed_half_way_resumes(mobilenet, tmp_path, rows_encoded, monkeypatch):
    monkeypatch.setattr(frozen, "IMAGES_PER_SHARD", 4)
    monkeypatch.setattr(frozen, "IMAGES_PER_BATCH", 2)
    keys = [str(i) for i in range(20)]
    with pytest.raises(KeyboardInterrupt):
        maps(mobilenet, tmp_path / "a", keys, DrawnImages(fail_after=15))
    done = sum(len(json.loads(file.read_text())["rows"]) for file in (tmp_path / "a").rglob("*.json"))
    assert done and done % 4 == 0
    rows_encoded.clear()
    resumed = maps(mobilenet, tmp_path / "a", keys)
    assert sum(rows_encoded) == 20 - done
    assert torch.allclose(resumed, maps(mobilenet, tmp_path / "b", keys), rtol=2e-3, atol=2e-3)


def test_a_shard_cut_short_is_computed_again(bert, tmp_path, rows_encoded):
    first = texts(bert, tmp_path)
    for index in (tmp_path / "features").rglob("*.json"):
        index.unlink()  # as if killed between the shard and its JSON
    assert torch.equal(texts(bert, tmp_path), first)
    assert sum(rows_encoded) == 10


def test_a_flipped_byte_is_an_error_and_deleting_the_shard_mends_it(bert, tmp_path):
    first = texts(bert, tmp_path)
    (shard,) = (tmp_path / "features").rglob("*.safetensors")
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(data)
    with pytest.raises(feature_store.CorruptShard, match=f"{shard.name}.*delete it"):
        texts(bert, tmp_path)
    shard.unlink()
    assert torch.equal(texts(bert, tmp_path), first)


def test_changed_weights_are_another_cache(mobilenet, tmp_path, rows_encoded):
    maps(mobilenet, tmp_path, ["1"])
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in mobilenet.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    maps(copy, tmp_path, ["1"])
    assert sum(rows_encoded) == 1  # same content in another place: nothing to do
    write_preprocessing(copy, [0.0] * 3, [1.0] * 3)
    maps(copy, tmp_path, ["1"])
    assert sum(rows_encoded) == 2


def test_errors_name_the_remedy(bert, mobilenet, tmp_path):
    with pytest.raises(FileNotFoundError, match="safetensors"):
        texts(tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError, match="preprocessor_config"):
        maps(bert, tmp_path, ["1"])
    with pytest.raises(ValueError, match="empty"):
        maps(mobilenet, tmp_path, [])
    with pytest.raises(ValueError, match="precision"):
        frozen.text_features(["a"], bert, tmp_path, precision="fp8")


def test_progress_bar_says_what_remains(bert, tmp_path, capsys):
    frozen.text_features(TEXTS, bert, tmp_path)
    assert "5/5" in capsys.readouterr().err
    frozen.text_features(TEXTS, bert, tmp_path)
    assert "texts" not in capsys.readouterr().err


# --- real weights ---------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("RUMORLIB_DATA"), reason="RUMORLIB_DATA is not set")
def test_real_weights_on_a_few_posts(tmp_path):
    root = Path(os.environ["RUMORLIB_DATA"])
    files = sorted((root / "flickr8k" / "images").iterdir())[:12]

    class Photographs:
        def pixels(self, key, size_px):
            with Image.open(files[int(key)]) as image:
                return np.asarray(image.convert("RGB").resize((size_px, size_px)))

        def content_hash(self, key):
            return hashlib.sha256(files[int(key)].read_bytes()).hexdigest()

    keys = [str(i) for i in range(len(files))]
    found = maps(root / "weights" / "mobilenet_v2_1.0_224", tmp_path, keys, Photographs(), 224).float()
    assert found.shape == (12, 1280, 7, 7) and found.std() > 0.01
    sentences = ["A dog runs on the beach.", "A puppy is running along the shore.", "Parliament passed a tax law."]
    features = frozen.text_features(sentences, root / "weights" / "all-MiniLM-L6-v2", tmp_path, progress=False).float()
    features = torch.nn.functional.normalize(features, dim=1)
    assert features.shape == (3, 384)
    assert features[0] @ features[1] > 0.6 > 0.3 > features[0] @ features[2]
