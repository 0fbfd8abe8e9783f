"""Frozen features: equal to the network's own output, computed once, resumable, and never silently wrong."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rumorlib.encoders import feature_store, frozen, pretrained

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


# --- folders from outside -------------------------------------------------------------------


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / folder.name))


def rewritten(file: Path, **changes) -> Path:
    """A JSON file with other entries."""
    file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | changes))
    return file


def refuses(folder: Path, cache: Path, words: str) -> None:
    """Texts are not encoded, the message names the folder, and nothing is cached."""
    with pytest.raises(pretrained.WeightsError, match=words) as raised:
        texts(folder, cache)
    assert str(folder) in str(raised.value)
    assert not list(cache.rglob("*.safetensors"))


OWN_CODE = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
from transformers import BertConfig, BertModel
class Mine(BertModel): pass
class MineConfig(BertConfig): model_type = "mine"
"""


@pytest.mark.parametrize("known", [True, False])
def test_code_of_a_folder_never_runs_whoever_says_yes(bert, tmp_path, monkeypatch, known):
    folder = copied(bert, tmp_path)
    (folder / "modeling_mine.py").write_text(OWN_CODE)
    auto_map = {"AutoModel": "modeling_mine.Mine", "AutoConfig": "modeling_mine.MineConfig"}
    rewritten(folder / "config.json", auto_map=auto_map, **({} if known else {"model_type": "mine"}))
    rewritten(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "modeling_mine.Tokenizer"]})
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    if known:  # an architecture that transformers has: read as that one
        assert torch.equal(texts(folder, tmp_path / "cache"), texts(bert, tmp_path / "cache"))
    else:
        refuses(folder, tmp_path / "cache", "needs code of its own, which is never run")
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_the_kernel_a_folder_names_is_not_fetched(bert, tmp_path, name):
    folder = copied(bert, tmp_path)
    rewritten(folder / "config.json", **{name: "somebody/kernel"})
    assert torch.equal(texts(folder, tmp_path), texts(bert, tmp_path))


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("config.json", {"quantization_config": {"quant_method": "gptq"}}, "quant_method asks for more"),
        ("config.json", {"transformers_weights": "../model.safetensors"}, "lies outside the folder"),
        ("config.json", {"auto_map": {"AutoModel": "/srv/code.Mine"}}, "auto_map.AutoModel .* lies outside"),
        ("config.json", {"auto_map": {"AutoModel": "../code.Mine"}}, "auto_map.AutoModel .* lies outside"),
        ("config.json", {"model_args": {"checkpoint_path": "x.pt"}}, "model_args.checkpoint_path asks for more"),
        ("config.json", {"architecture": "hf-hub:somebody/model"}, "no name of an architecture"),
        ("tokenizer_config.json", {"vocab_file": "../secret.txt"}, "vocab_file .* lies outside"),
        ("tokenizer_config.json", {"tokenizer_file": os.devnull}, "tokenizer_file .* lies outside"),
        ("model.safetensors.index.json", {"weight_map": {"a": "../model.safetensors"}}, "names '../model.safetensors'"),
        ("model.safetensors.index.json", {"weight_map": {"a": "/etc/passwd"}}, "names '/etc/passwd'"),
        ("adapter_config.json", {"base_model_name_or_path": "somebody/model"}, "an adapter for another model"),
    ],
)
def test_a_folder_that_names_what_lies_outside_is_refused(bert, tmp_path, file, changes, words):
    folder = copied(bert, tmp_path)
    (tmp_path / "secret.txt").write_text("a secret")
    rewritten(folder / file, **changes)
    refuses(folder, tmp_path / "cache", words)


def test_a_stale_path_in_a_tokenizer_config_is_no_harm(bert, tmp_path):
    """Many published folders keep paths of the machine that made them."""
    folder = copied(bert, tmp_path)
    rewritten(folder / "tokenizer_config.json", special_tokens_map_file=str(tmp_path / "gone.json"))
    assert torch.equal(texts(folder, tmp_path), texts(bert, tmp_path))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["out", "loop", "pipe"])
def test_files_of_a_folder_are_its_own(bert, tmp_path, kind):
    folder = copied(bert, tmp_path)
    place = folder / "config.json"
    place.rename(tmp_path / "config.json")
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / "config.json" if kind == "out" else "config.json")
    refuses(folder, tmp_path / "cache", "no regular file" if kind == "pipe" else "a link that leaves the folder")


def test_a_snapshot_of_hugging_faces_cache_links_to_its_blobs(bert, tmp_path):
    blobs, folder = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "1a2b"
    blobs.mkdir(parents=True)
    folder.mkdir(parents=True)
    for file in bert.iterdir():
        shutil.copy(file, blobs / file.name)
        (folder / file.name).symlink_to(Path("..", "..", "blobs", file.name))
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    assert torch.equal(texts(linked, tmp_path), texts(bert, tmp_path))


@pytest.mark.parametrize("share", ["none", "half", "pooler", "one"])
def test_tensors_that_are_not_there_are_not_drawn(bert, tmp_path, share):
    from safetensors.torch import load_file, save_file

    folder = copied(bert, tmp_path)
    stored = load_file(folder / "model.safetensors")
    names = sorted(stored)
    pooler = [name for name in names if "pooler" in name]
    lost = {"none": names, "half": names[::2], "pooler": pooler, "one": names[-4:-3]}[share]
    kept = {name: stored[name] for name in names if name not in lost} | {"of.another.model": torch.zeros(1)}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    if share == "pooler":  # no feature passes through it
        assert torch.equal(texts(folder, tmp_path), texts(bert, tmp_path))
        return
    n_lost = sum("pooler" not in name for name in lost)
    refuses(folder, tmp_path / "cache", f"lack {n_lost} of the model's {len(names)} tensors, .* restore the weights")
    (folder / "model.safetensors").write_bytes((bert / "model.safetensors").read_bytes()[:2000])
    refuses(folder, tmp_path / "cache", "its model cannot be loaded")


def test_of_two_towers_the_one_that_is_used_must_be_whole(tmp_path):
    from safetensors.torch import load_file, save_file
    from transformers import CLIPConfig, CLIPModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    vision = sizes | {"image_size": 32, "patch_size": 16}
    folder = tmp_path / "clip"
    CLIPModel(CLIPConfig(text_config=sizes | {"vocab_size": 30}, vision_config=vision)).save_pretrained(folder)
    write_preprocessing(folder, [0.5] * 3, [0.5] * 3)
    stored = load_file(folder / "model.safetensors")
    whole = maps(folder, tmp_path / "whole", ["1"], size_px=32)
    seen = {name: value for name, value in stored.items() if name.startswith("vision_model.")}
    save_file(seen, folder / "model.safetensors", {"format": "pt"})
    assert torch.equal(maps(folder, tmp_path / "seen", ["1"], size_px=32), whole)
    with pytest.raises(pretrained.WeightsError, match="lack"):
        pretrained.model_of(folder, "text_model")


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


def test_a_notebook_that_loads_weights_is_told_nothing_of_other_libraries(bert):
    code = (
        "import sys, types; sys.modules['ipykernel.zmqshell'] = types.ModuleType('as in a notebook')\n"
        "from rumorlib.encoders import pretrained; pretrained.model_of(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, bert], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_frozen_tower_is_pooled_as_its_config_says(bert, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    first, mean = (texts(bert, tmp_path, ["b a", "a"], pool=pool).float() for pool in ("cls", "mean"))
    with torch.no_grad():
        read = AutoTokenizer.from_pretrained(bert)("b a", return_tensors="pt")
        own = AutoModel.from_pretrained(bert).eval()(**read).last_hidden_state[0, 0]
    assert torch.allclose(first[0], own, atol=2e-3) and not torch.allclose(first, mean, atol=1e-2)
