"""From a run's config to tensors: corpora read once, texts encoded, distinct images encoded once."""

from rumorlib.inputs.corpora import Source, captions, corpus, corpus_of, rows_of, train_pictures
from rumorlib.inputs.encoded import clutter, encode_images, encode_texts, images_of, vocabulary, weights_folder
from rumorlib.inputs.sclip import (
    joint_patches,
    joint_texts,
    let_learn,
    load_sclip,
    new_sclip,
    patch_tokens,
    text_vectors,
)
from rumorlib.inputs.tensors import caption_tensors, post_tensors
