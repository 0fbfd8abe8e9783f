"""Caption corpora in each published form: Flickr30K, Flickr8k, COCO-CN, Chinese-CLIP's, our own."""

import json

import numpy as np
import pandas as pd
import published
import pytest

from rumorlib import config
from rumorlib.data import corpora, posts
from rumorlib.data.images import ArrayImages, ImageError
from rumorlib.data.posts import PostsError
from rumorlib.data.readers import captions, coco_cn, flickr


@pytest.mark.parametrize("form", ["karpathy", "hf", "token", "entities", "kaggle"])
def test_flickr30k(tmp_path, form):
    folder = published.flickr30k(tmp_path, form)
    if form == "kaggle":
        folder = folder / "flickr30k_images"
    table = flickr.read_30k(folder).captions
    splits = ["train", "dev", "test"] if form in ("karpathy", "hf", "entities") else [""] * 3
    assert table[["image", "caption_id", "text", "split", "language"]].values.tolist() == [
        [name, k, f"{name} caption {k} .", split, "en"]
        for name, split in sorted(zip(published.FLICKR, splits, strict=True))
        for k in range(2)
    ]
    assert flickr.read_30k(folder).images.pixels(published.FLICKR[0], 4).shape == (4, 4, 3)


def test_flickr30k_prefers_the_file_with_a_split(tmp_path):
    published.flickr30k(tmp_path, "token")
    published.flickr30k(tmp_path, "karpathy")
    assert set(flickr.read_30k(tmp_path).captions["split"]) == {"train", "dev", "test"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("results_20130124.token", "a.jpg#0\tone\nno number\n", "row 2: expected <picture>#<k>"),
        ("results_20130124.token", "a.jpg#0\tone\na.jpg#0\ttwo\n", "row 2: image and caption_id repeat"),
        ("dataset_flickr30k.json", '{"images": [{"filename": "a"}]}', "row 1: filename, split or the raw"),
        ("dataset_flickr30k.json", '{"images": []}', "no captions"),
        ("results.csv", "image_name| comment_number| comment\na.jpg| x| y\n", "row 1: expected <picture>"),
        ("flickr_annotations_30k.csv", "raw,split,filename\nno list,train,a.jpg\n", "row 1: raw is no JSON list"),
    ],
)
def test_flickr30k_errors(tmp_path, name, text, words):
    published.write(tmp_path / name, text)
    with pytest.raises(PostsError, match=words) as error:
        flickr.read_30k(tmp_path)
    assert name in str(error.value)


def test_flickr8k_cn(tmp_path):
    corpus = flickr.read_8k_cn(published.flickr8k_cn(tmp_path))
    assert corpus.captions.loc[::2, ["image", "caption_id", "text", "split", "language"]].values.tolist() == [
        [f"{n}.jpg", 0, f"说明0{n}", split, "zh"]
        for n, split in (("a", "train"), ("b", "dev"), ("c", "test"), ("d", "unassigned"))
    ]
    published.write(tmp_path / "flickr8kzhc.caption.txt", "a.jpg#zhc#0 一\nb.jpg 二\n")
    with pytest.raises(PostsError, match=r"row 2: expected <picture>#zhc#<k> and a caption"):
        flickr.read_8k_cn(tmp_path)


def test_flickr8k(tmp_path):
    corpus = flickr.read_8k(published.flickr8k(tmp_path))
    splits = corpus.captions.groupby("image")["split"].first().to_dict()
    assert splits == {"a.jpg": "train", "b.jpg": "dev", "c.jpg": "test", "d.jpg": "unassigned"}
    assert corpus.dropped["reason"].tolist() == ["image 2258277193_586949ec62.jpg.1 does not exist"]
    (tmp_path / "Flickr8k_text" / "Flickr_8k.devImages.txt").unlink()
    with pytest.raises(PostsError, match=r"the split needs Flickr_8k\.trainImages\.txt"):
        flickr.read_8k(tmp_path)


def test_coco_cn(tmp_path):
    corpus = coco_cn.read(published.coco_cn(tmp_path))
    train, dev, test = published.COCO
    assert corpus.captions[["image", "caption_id", "text", "split"]].values.tolist() == [
        [f"train2014/{train}.jpg", 0, "一只狗", "train"],
        [f"train2014/{train}.jpg", 1, "两只 狗", "train"],
        [f"val2014/{dev}.jpg", 0, "一只猫", "dev"],
        [f"val2014/{test}.jpg", 0, "一匹马", "test"],
    ]
    assert corpus.dropped[["row", "reason"]].values.tolist() == [[5, "empty caption"]]


def test_coco_cn_with_flat_pictures_and_errors(tmp_path):
    published.coco_cn(tmp_path / "coco-cn")
    for name in published.COCO:
        published.picture(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / "coco-cn" / ("train2014" if "train" in name else "val2014") / f"{name}.jpg").unlink()
    assert coco_cn.read(tmp_path / "coco-cn").captions["image"][0] == f"{published.COCO[0]}.jpg"
    path = tmp_path / "coco-cn" / "imageid.human-written-caption.txt"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + "217153 字\n", encoding="utf-8")
    with pytest.raises(PostsError, match=r"human-written-caption\.txt, row 6: expected <photograph>#<k>"):
        coco_cn.read(tmp_path / "coco-cn")
    (tmp_path / "coco-cn" / "coco-cn_val.txt").unlink()
    with pytest.raises(PostsError, match=r"coco-cn_val\.txt does not exist"):
        coco_cn.read(tmp_path / "coco-cn")


def test_chinese_clip(tmp_path):
    corpus = captions.read_packed(published.chinese_clip(tmp_path))
    assert corpus.captions["split"].tolist() == ["train", "train", "dev", "dev", "test", "test"]
    for key in corpus.captions["image"].unique():
        assert abs(corpus.images.pixels(key, 4).astype(int) - [0, 0, 255]).max() < 6
    hashes = {corpus.images.content_hash(key) for key in published.COCO}
    assert len(hashes) == 1 and not corpus.images.has("other")
    with pytest.raises(ImageError, match="no picture 'other'"):
        corpus.images.pixels("other", 4)


def test_chinese_clip_errors(tmp_path):
    folder = published.chinese_clip(tmp_path)
    path = folder / "train_imgs.tsv"
    path.write_text(f"{published.COCO[0]}\tQUJD\n")
    with pytest.raises(ImageError, match=r"train_imgs\.tsv, row 1 cannot be decoded"):
        captions.read_packed(folder).images.pixels(published.COCO[0], 4)
    path.write_text("no tab\n")
    with pytest.raises(PostsError, match=r"train_imgs\.tsv, row 1: expected an id, a tab"):
        captions.read_packed(folder)
    published.chinese_clip(tmp_path)
    published.write(folder / "test_texts.jsonl", json.dumps({"text": "x", "image_ids": ["gone"]}) + '\n{"text": 1}\n')
    with pytest.raises(PostsError, match=r"test_texts\.jsonl, row 2: expected an object with text and image_ids"):
        captions.read_packed(folder)


def test_our_own_form_in_two_languages(tmp_path):
    corpus = captions.read(published.captions(tmp_path))
    assert corpus.captions[["image", "language", "split"]].values.tolist() == [
        ["images/a.jpg", "en", "train"],
        ["images/a.jpg", "zh", "train"],
        ["images/b.jpg", "en", "dev"],
        ["images/b.jpg", "zh", "dev"],
    ]
    published.write(tmp_path / "captions_zh.csv", "image,caption_id,caption,split\nimages/a.jpg,0,x,test\n")
    with pytest.raises(PostsError, match=r"images/a\.jpg stands in other splits in another language"):
        captions.read(tmp_path)


def test_named_stage_one_corpora(tmp_path):
    settings = config.Settings("paper", (), (0,), data_root=tmp_path)
    published.flickr30k(tmp_path / "flickr30k", "karpathy")
    published.coco_cn(tmp_path / "coco_cn")
    for name in ("flickr30k-en", "coco-cn-zh"):
        corpus = corpora.load_captions(name, settings)
        assert corpus.name == name and set(corpus.captions["split"]) == {"train", "dev", "test"}
    (tmp_path / "flickr30k" / "dataset_flickr30k.json").unlink()
    published.flickr30k(tmp_path / "flickr30k", "token")
    with pytest.raises(PostsError, match=r"no split; add the layout"):
        corpora.load_captions("flickr30k-en", settings)


def test_posts_as_captions_leave_test_out_and_count_near_duplicate_pictures_once():
    """Pictures of one group are one picture with all its texts; a repeated text counts once; labels play no part."""
    table = pd.DataFrame({
        "post_id": list("123456"), "text": ["x", "y", "x", "z", "u", "v"], "label": [0, 1, 0, 1, 0, 1],
        "image": ["a", "b", "a", "c", "d", ""], "image_group": ["g", "g", "g", "", "h", ""],
        "split": ["train"] * 3 + ["dev", "test", "train"],
    })  # fmt: skip
    pictures = ArrayImages(list("abcd"), np.zeros((4, 8, 8, 3), dtype=np.uint8))
    made = captions.of_posts(posts.Corpus("twitter", posts.check(table, "test"), pictures, ""), "en").captions
    assert made[["image", "text", "split"]].to_numpy().tolist() == [
        ["a", "x", "train"], ["a", "y", "train"], ["c", "z", "dev"]
    ]  # fmt: skip


def test_fewer_train_pictures_are_a_part_of_more_and_more_than_there_are_an_error() -> None:
    frame = pd.DataFrame({"image": [f"p{i // 2:02d}" for i in range(80)], "split": ["train"] * 60 + ["dev"] * 20})
    whole, small, large = (captions.train_pictures(frame, n) for n in (None, 5, 20))
    assert len(small) == 5 and len(large) == 20 and small < large < whole == {f"p{i:02d}" for i in range(30)}
    assert captions.train_pictures(frame.sample(frac=1, random_state=1), 5) == small
    with pytest.raises(ValueError, match="n_train is 31, but there are 30"):
        captions.train_pictures(frame, 31)
