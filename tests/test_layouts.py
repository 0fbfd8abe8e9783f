"""Detection: every layout from its folder, its parent and its usual nesting; what fits twice or not at all."""

from functools import partial

import published
import pytest

from rumorlib import config
from rumorlib.data import corpora, posts
from rumorlib.data.posts import CaptionCorpus, Corpus, PostsError
from rumorlib.data.readers import layouts, manifest

WRITERS = {
    "manifest": published.manifest,
    "weibo17": published.weibo17,
    "ced": published.ced,
    "mfan-weibo": published.mfan_weibo,
    "mfan-pheme": published.mfan_pheme,
    "pheme": published.pheme,
    "pheme-table": published.pheme_table,
    "mediaeval": published.mediaeval,
    "twitter-table": published.twitter_table,
    "flickr30k": partial(published.flickr30k, form="karpathy"),
    "flickr8k": published.flickr8k,
    "flickr8k-cn": published.flickr8k_cn,
    "captions": published.captions,
    "coco-cn": published.coco_cn,
    "chinese-clip": published.chinese_clip,
}


def test_every_layout_has_a_writer():
    assert WRITERS.keys() == layouts.LAYOUTS.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_detected_from_the_folder_its_parent_and_its_grandparent(tmp_path, name):
    folder = WRITERS[name](tmp_path / "outer" / "inner")
    for place in (folder, tmp_path / "outer", tmp_path):
        assert layouts.find(place)[0].name == name
        assert layouts.find(place)[1] == folder
    by_name = layouts.open_folder(tmp_path, layout=name)
    found = layouts.open_folder(str(folder))
    assert type(by_name) is type(found) and found.name == by_name.name
    rows = found.captions if isinstance(found, CaptionCorpus) else found.posts
    assert len(rows) and rows.index.tolist() == list(range(len(rows)))
    assert isinstance(found, (Corpus, CaptionCorpus))
    if isinstance(found, Corpus):
        assert set(rows.columns) - set(posts.COLUMNS) - {"weight"} <= set(posts.OPTIONAL)
    assert list(found.dropped.columns) == ["post_id", "source", "row", "reason"]


@pytest.mark.parametrize("rule", ["keep", "blank", "drop", "error"])
def test_every_reader_takes_every_rule(tmp_path, rule):
    wrong = []
    for name, write in WRITERS.items():
        try:
            found = layouts.open_folder(write(tmp_path / name), on_missing_image=rule)
        except PostsError as error:
            said = "does not exist" in str(error) and "row" in str(error)
            wrong += [f"{name}: {error}"] * (rule != "error" or not said)
            continue
        rows = found.captions if isinstance(found, CaptionCorpus) else found.posts
        absent = [key for key in rows["image"] if found.images is not None and not found.images.has(key)]
        wrong += [f"{name}: {absent}"] * bool(absent if rule == "drop" else rule == "blank" and any(absent))
    assert not wrong, "\n".join(wrong)


def test_an_unknown_rule(tmp_path):
    with pytest.raises(PostsError, match="on_missing_image 'remove' is none of keep, drop, blank, error"):
        layouts.open_folder(published.manifest(tmp_path), on_missing_image="remove")


@pytest.mark.parametrize(
    ("name", "layout"), [(name, layout) for name, one in config.CORPORA.items() for layout in one.layouts]
)
def test_named_corpora_take_each_of_their_layouts(tmp_path, name, layout):
    place = config.record(name)
    folder = WRITERS[layout](tmp_path / place.folder)
    if layout == "weibo17" and place.pictures:
        for key in ("rumor_images/abc", "rumor_images/g", "nonrumor_images/d", "nonrumor_images/h"):
            published.picture(folder / key)
    if layout == "pheme" and place.pictures:
        for number in range(552784600502915072, 552784600502915112, 10):
            published.picture(folder / "images" / f"{number}.jpg")
    settings = config.Settings("paper", (), (0,), data_root=tmp_path)
    if place.kind == "captions":
        found = corpora.load_captions(name, settings)
        assert (found.captions["language"] == name[-2:]).all()
    else:
        found = corpora.load(name, settings)
        assert (found.images is None) == name.endswith("-text")
        assert found.label_means == (place.label_means or manifest.LABEL_MEANS)
        assert not name.endswith("-text") or (found.posts["image"] == "").all()
    assert found.name == name


def test_nothing_fits(tmp_path):
    published.write(tmp_path / "posts.txt", "something else\n")
    with pytest.raises(PostsError) as error:
        layouts.open_folder(tmp_path)
    assert all(name in str(error.value) for name in layouts.LAYOUTS)
    assert "{train,test}_{rumor,nonrumor}.txt" in str(error.value) and "manifest.csv" in str(error.value)
    with pytest.raises(PostsError, match="is no folder"):
        layouts.open_folder(tmp_path / "gone")
    with pytest.raises(PostsError, match="no layout called 'weibo'; there are manifest, weibo17"):
        layouts.open_folder(tmp_path, layout="weibo")


def test_two_layouts_fit_one_folder(tmp_path):
    published.manifest(tmp_path)
    published.weibo17(tmp_path)
    with pytest.raises(PostsError, match=r"fits manifest and weibo17; .*layout='manifest' .*--layout manifest"):
        layouts.find(tmp_path)
    assert layouts.open_folder(tmp_path, layout="weibo17").name == "weibo-text"
    assert layouts.open_folder(tmp_path, layout="manifest").name == "manifest"


def test_several_corpora_below(tmp_path):
    published.manifest(tmp_path / "a")
    published.pheme(tmp_path / "b")
    with pytest.raises(PostsError, match=r"holds several corpora: a \(manifest\), b \(pheme\); give the folder"):
        layouts.open_folder(tmp_path)
    assert layouts.open_folder(tmp_path, layout="pheme").name == "pheme-text"


def test_archives_of_macos_are_passed_over(tmp_path):
    published.manifest(tmp_path / "corpus")
    published.write(tmp_path / "__MACOSX" / "manifest.csv", "\0")
    assert layouts.open_folder(tmp_path).name == "manifest"


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe\0x", b"\0" * 50, b"id,text\n"], ids=["nothing", "utf-16", "zeros", "a header"]
)
def test_damaged_files_are_posts_errors(tmp_path, damage):
    """Whatever stands in the annotation files, nothing but PostsError comes out, or the folder is not recognised."""
    wrong = []
    for name in sorted(set(WRITERS) - {"chinese-clip"}):
        folder = WRITERS[name](tmp_path / name)
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".csv", ".json", ".txt", ".token", ".jsonl") and not path.name.startswith("."):
                kept = path.read_bytes()
                path.write_bytes(damage)
                try:
                    layouts.open_folder(folder, layout=name)
                except Exception as error:
                    right = isinstance(error, PostsError) and len(str(error)) > 20
                    wrong += [f"{name}, {path.name}: {error!r}"] * (not right)
                path.write_bytes(kept)
    assert not wrong, "\n".join(wrong)


def test_a_manifest_file_instead_of_a_folder(tmp_path):
    folder = published.manifest(tmp_path / "mine")
    path = (folder / "manifest.csv").rename(folder / "anything.csv")
    assert layouts.find(path)[0].name == layouts.find(path, "manifest")[0].name == "manifest"
    assert layouts.open_folder(path).posts["post_id"].tolist() == ["1", "2"]
    with pytest.raises(PostsError, match=r"If anything\.csv is a list of posts, give the file itself"):
        layouts.open_folder(folder)
    archive = published.write(tmp_path / "weibo.zip", "x")
    with pytest.raises(PostsError, match=r"weibo\.zip is a file: unpack it"):
        layouts.open_folder(archive)
