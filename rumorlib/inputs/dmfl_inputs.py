"""What DMFL reads of a corpus: words and their vectors, word pieces, image rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rumorlib import config as cfg
from rumorlib.config import DetectorConfig, DMFLConfig, RunConfig, Settings, Word2VecConfig
from rumorlib.data.batches import Texts, moved, where_is
from rumorlib.data.posts import Corpus
from rumorlib.encoders import fine_tuned, frozen, pretrained
from rumorlib.encoders.vision import ImageTower, grid_sides
from rumorlib.encoders.vocabulary import CLS, SEP, TURN, UNK, Vocabulary, tokenize
from rumorlib.encoders.word2vec import load_vectors, train_word2vec
from rumorlib.inputs import encoded
from rumorlib.inputs.corpora import Source
from rumorlib.inputs.sclip import joint_patches, load_sclip, patch_tokens


@lru_cache(maxsize=2)
def word_vectors(
    loaded: Corpus, words: Word2VecConfig, seed: int, settings: Settings
) -> tuple[Vocabulary, np.ndarray, float]:
    """Words of the train posts, their word2vec vectors (V, d_word), and the share of the words that have one.

    Made once per corpus, setting and seed: DMFL's variants start from the same vectors.
    """
    tokens = _train_tokens(loaded, words)
    lexicon = Vocabulary.from_tokens(tokens, words.tokens, words.min_count)
    if words.vectors is None:
        vectors, facts = train_word2vec(tokens, words, seed, lexicon)
    else:
        file = (settings.data_root or cfg.data_root()) / words.vectors
        vectors, facts = load_vectors(file, lexicon, words.d_word, seed)
    vectors.setflags(write=False)
    return lexicon, vectors, facts["coverage"]


def lexicon_of(loaded: Corpus, words: Word2VecConfig) -> Vocabulary:
    """The words of `word_vectors`, without their vectors."""
    return Vocabulary.from_tokens(_train_tokens(loaded, words), words.tokens, words.min_count)


def _train_tokens(loaded: Corpus, words: Word2VecConfig) -> list[list[str]]:
    train = loaded.posts.loc[loaded.posts["split"] == "train", "text"]
    return [tokenize(text.replace(TURN, " "), words.tokens) for text in train]


def image_rows(read: Source) -> tuple[Tensor, Tensor]:
    """Image rows of distinct pictures (Eqs 7-10), and the row of each post: (I, N, D), with `image_cls` (I, 1 + N, D),
    or a map (I, C, h, w), and (n,).

    Of the frozen encoder the config names, or what is below its layers that learn (`image_encoder`), else the finest
    scale of the stage-1 tower (in the joint space where the logic chain starts there); one row of zeros for a model
    that looks at no picture.

    Raises: ValueError: `image_cls` without a frozen encoder's own rows.
    """
    config, corpus, settings, checkpoint = read
    detector: DMFLConfig | DetectorConfig = config.detector
    if isinstance(detector, DMFLConfig) and not detector.reads_image:
        return torch.zeros(1, 1, 1), torch.zeros(len(corpus.posts), dtype=torch.long)
    cls = getattr(detector, "image_cls", False)
    if cls and (not detector.image or detector.image_components):
        raise ValueError("image_cls needs a ViT as DMFLConfig.image, and image_components=None: [CLS] is no cell")
    if detector.image:
        n_trained = getattr(detector, "image_layers", 0)
        return encoded.component_rows(corpus, detector.image, detector.image_components, settings, cls, n_trained)
    made = joint_patches if getattr(detector, "logic_init", "") == "stage1" else patch_tokens
    tokens, rows = made(corpus, config.stage1, checkpoint, settings)
    sides = grid_sides(config.stage1.sclip.vision)
    start = int(np.cumsum([0, *(side * side for side in sides)])[np.argmax(sides)])
    return tokens[:, start : start + max(sides) ** 2], rows


def image_encoder(detector: DMFLConfig, folder_of: Callable[[str], Path]) -> nn.Module | None:
    """What of DMFL's image encoder learns with it (Eqs 7-10): the last layers of a frozen one, or a ViT from scratch;
    None: nothing does. Raises: as `fine_tuned.image_top`; ValueError: a ViT of several scales."""
    vision = detector.image
    if not detector.reads_image or not vision:
        return None
    if vision.kind == "patch_conv":
        if len(vision.receptive_fields) != 1 or vision.weights:
            raise ValueError(f"DMFL's own ViT has one size of patch and no weights; got {vision.receptive_fields}")
        return ImageTower(vision, None, dropout=0.0)
    if not detector.image_layers:
        return None
    folder = folder_of(vision.weights)
    return fine_tuned.image_top(folder, vision.image_size_px, detector.image_layers, detector.image_cls)


@torch.no_grad()
def joint_words(lexicon: Vocabulary, config: RunConfig, settings: Settings, checkpoint: Path | None) -> Tensor:
    """Every word of DMFL's vocabulary as stage 1 reads a text of this one word: (V, D) unit length; special words and
    words unknown to stage 1 are small noise, PAD zeros."""
    sclip = load_sclip(config.stage1, checkpoint, settings)
    known = encoded.vocabulary(config.stage1, config.language, settings)
    ids, mask = known.encode(list(lexicon.words), config.stage1.sclip.text(config.language).max_length, cls=True)
    longest = int(mask.sum(1).max())
    words = moved(Texts(ids[:, :longest], mask[:, :longest]), where_is(sclip))
    vectors = sclip.encode_text(words, config.language).cpu()
    has_word = ((ids != UNK) & (ids > SEP)).any(dim=1)
    has_word[: SEP + 1] = False
    noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(config.seed)) * 0.1
    vectors = torch.where(has_word[:, None], vectors, noise / vectors.shape[1] ** 0.5)
    vectors[: CLS - 1] = 0
    return vectors


class BertTexts(NamedTuple):
    """Texts as a logic chain that starts from BERT reads them, and what it starts from."""

    pieces: Tensor | None = None  # (n, P) long: ids of word pieces, 0 = padding; where `hidden` is read 1 for each
    hidden: Tensor | None = None  # (n, P, W) fp16, of the frozen layers
    state: dict[str, Tensor] | None = None  # weights by BertModel's names; not where all its layers stay as they are
    sep: int = 0  # id of [SEP]


def bert_texts(texts: list[str], detector: DMFLConfig, settings: Settings) -> BertTexts:
    """Word pieces of texts, what the frozen layers of a local BERT folder make of them, and its weights.

    Raises: ValueError: more frozen layers than there are, or padding that is not BERT's.
    """
    from transformers import BertModel

    tower = detector.logic_text
    folder = encoded.weights_folder(tower.weights, settings)
    n_layers, state = pretrained.config_of(folder).num_hidden_layers, None
    if detector.logic_frozen > n_layers:
        raise ValueError(f"{folder.name} has {n_layers} layers, and logic_frozen asks for {detector.logic_frozen}")
    if detector.logic_frozen < n_layers:
        state = dict(pretrained.model_of(folder, kind=BertModel, add_pooling_layer=False).state_dict())
    given = [tower.prefix + text for text in texts]
    if detector.logic_frozen:
        mask, hidden = frozen.text_rows(given, folder, cfg.cache_root(), detector.logic_frozen, tower.max_length)
        return BertTexts(mask.long(), hidden, state)
    tokenizer = pretrained.tokenizer_of(folder)
    given = [text.replace(TURN, f" {tokenizer.sep_token} ") for text in given]
    made = tokenizer(given, padding=True, truncation=True, max_length=tower.max_length, return_tensors="pt")
    if tokenizer.pad_token_id != 0:
        raise ValueError(f"{folder.name}: padding is id {tokenizer.pad_token_id}, and BERT's is 0; is it a BERT?")
    return BertTexts(made["input_ids"], None, state, tokenizer.sep_token_id)
