"""Readers on files in each published format, made here; counts on the real files where they are at hand."""

import csv
import json
import os
import tracemalloc

import pytest
from PIL import Image

from rumorlib import config
from rumorlib.data import corpora, posts
from rumorlib.data.posts import PostsError
from rumorlib.data.readers import manifest, tables
from rumorlib.data.splitting import protocols, splits


def at(root):
    return config.Settings("laptop", (), (0,), data_root=root)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, format="PNG")


# --- manifests ------------------------------------------------------------------------------

RECORDS = [
    {"id": 7, "text": "a,b", "label": "fake", "img": "pictures/a.png", "domain": "flood"},
    {"id": 8, "text": None, "label": 0, "img": "pictures/b.png", "domain": "flood"},
    {"id": 9, "text": "c", "label": "non-rumor", "img": "pictures/gone.png", "domain": "fire"},
    {"id": 10, "text": "d", "label": 1, "img": "", "domain": "fire"},
]


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_manifest(tmp_path, kind):
    picture(tmp_path / "pictures" / "a.png")
    picture(tmp_path / "pictures" / "b.png")
    if kind == "csv":
        lines = ["id,text,label,img,domain", '7,"a,b",fake,pictures/a.png,flood', "8,,0,pictures/b.png,flood"]
        lines += ["9,c,non-rumor,pictures/gone.png,fire", "10,d,1,,fire", ""]
        text = "\ufeff" + "\r\n".join(lines)
    else:
        text = json.dumps(RECORDS) if kind == "json" else "\n".join(map(json.dumps, RECORDS)) + "\n\n"
    write(tmp_path / f"manifest.{kind}", text)
    corpus = corpora.load("manifest", at(tmp_path))
    assert corpus.posts["post_id"].tolist() == ["7", "8"]
    assert corpus.posts["label"].tolist() == [1, 0]
    assert corpus.posts["text"].tolist() == ["a,b", ""]
    assert corpus.posts["event"].tolist() == ["flood", "flood"]
    assert corpus.images.pixels(corpus.posts["image"][0], 4).shape == (4, 4, 3)
    assert corpus.dropped[["post_id", "row", "reason"]].values.tolist() == [
        ["9", 3, "image pictures/gone.png does not exist"],
        ["10", 4, "no image"],
    ]


def test_manifest_of_texts_only(tmp_path):
    path = write(tmp_path / "x.csv", "text,label,split\none,1,train\ntwo,0,val\nthree,0,train\nfour,1,val\n")
    corpus = manifest.read_file(path)
    assert corpus.images is None and corpus.dropped.empty
    assert corpus.posts["post_id"].tolist() == ["1", "2", "3", "4"]
    assert corpus.posts["split"].tolist() == ["train", "dev", "train", "dev"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.csv", "id,text,label\n1,a,b,1\n", ["line 2", "4 cells below a header of 3", "quote"]),
        ("m.csv", "id,text,label\n1,a\n", ["line 2", "2 cells"]),
        ("m.csv", 'id,text,label\n1,"open,1\n', ["line 2", "quote"]),
        ("m.csv", "id,text,label\n1,a,maybe\n", ["m.csv, row 1", "maybe"]),
        ("m.csv", "id,text,label\n", ["no posts"]),
        ("m.csv", "", ["m.csv is empty"]),
        ("m.csv", "id,image\n1,2\n", ["m.csv: column text, label is missing (found: id, image); name the columns"]),
        ("m.csv", "id,post_id,img,image_path,text,label\n1,2,a,b,c,1\n", ["more than one column could be image"]),
        ("m.jsonl", '{"text": "a", "label": 1}\n{"text": \n', ["line 2", "not JSON"]),
        ("m.json", '[{"text": "a"},\n oops]', ["line 2", "not JSON"]),
        ("m.json", '{"text": "a"}', ["expected a list of objects"]),
        ("m.json", '[{"text": "a", "label": true}]', ["row 1", "write 1 or 0"]),
        ("m.json", '[{"id": 1.5, "text": "a", "label": 1}]', ["row 1", "float"]),
        ("m.csv", "id,text,label\n1.23456789012345E+18,a,1\n2,b,0\n", ["m.csv, row 1", "read as a float"]),
        ("m.csv", "id,text,label\n1,a,1\n1234567890123456800.0,b,0\n", ["m.csv, row 2", "read as a float"]),
        ("m.csv", "text;label;image\na;1;x.jpg\n", ["line 1", "between ';', not between commas"]),
        ("m.csv", "text\tlabel\na\t1\n", ["line 1", "not between commas"]),
        ("m.txt", "", ["a manifest is a .csv, .json or .jsonl file"]),
        ("m.csv", "text,label,image\na,1,x.png\nb,0,y.png\n", ["none of 2 pictures exists"]),
    ],
)
def test_manifest_errors(tmp_path, name, text, words):
    with pytest.raises(PostsError) as error:
        manifest.read_file(write(tmp_path / name, text))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_missing_and_misencoded_files(tmp_path):
    for name in ("m.csv", "m.json"):
        with pytest.raises(PostsError, match="does not exist"):
            manifest.read_file(tmp_path / name)
        (tmp_path / name).write_bytes("text,label\nпривет,1\n".encode("cp1251"))
        with pytest.raises(PostsError, match=rf"{name}, line 2, is not UTF-8 \(byte 11\); save it as UTF-8"):
            manifest.read_file(tmp_path / name)
        (tmp_path / name).write_bytes("text,label\n谣言,1\n".encode("utf-16"))
        with pytest.raises(PostsError, match=r"line 1, is not UTF-8 .*iconv -f utf-16"):
            manifest.read_file(tmp_path / name)


def test_a_long_text_is_read_whole_and_a_cell_without_end_says_why(tmp_path, monkeypatch):
    """Python's csv stops at 131,072 characters, which the message took for a missing quote."""
    long = '文"a,\n' * 30_000
    path = tmp_path / "m.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text", "label"), ("1", long, "1"), ("2", "b", "0")])
    assert len(long) == 150_000 and manifest.read_file(path).posts["text"].tolist() == [long, "b"]
    write(path, 'id,text,label\n1,"an open quote,1\n2,b,0\n')
    with pytest.raises(PostsError, match=r"m\.csv, line 3: .*; quote texts and double the quotes in them"):
        manifest.read_file(path)
    before = csv.field_size_limit(1000)
    monkeypatch.setattr(tables, "MAX_CELL", 1000)
    try:
        write(path, f"id,text,label\n1,{'x' * 1001},1\n2,b,0\n")
        with pytest.raises(PostsError, match=r"line 2: .*more than 1,000 characters: is a quote left open\?"):
            manifest.read_file(path)
    finally:
        csv.field_size_limit(before)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["m.csv", "m.json"])
def test_a_pipe_is_no_list_of_posts(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match=f"not a regular file.*{name}"):
        manifest.read_file(tmp_path / name)


@pytest.mark.parametrize("parts", [False, True])
def test_a_manifest_says_what_its_label_means(tmp_path, parts):
    names = ("train.csv", "test.csv") if parts else ("manifest.csv",)
    for name in names:
        write(tmp_path / name, "text,label\na,1\nb,0\n")
    assert manifest.read(tmp_path).label_means == manifest.LABEL_MEANS
    write(tmp_path / "corpus.toml", 'label_means = " satire, not news (0 = news) "\nlanguage = "en"\n')
    assert manifest.read(tmp_path).label_means == "satire, not news (0 = news)"
    assert manifest.read_file(tmp_path / names[0]).label_means == "satire, not news (0 = news)"
    assert corpora.load("manifest", at(tmp_path)).label_means == "satire, not news (0 = news)"
    for wrong, words in (("label_means = 1", "in words"), ('label_means = ""', "in words"), ("x", "corpus.toml: ")):
        write(tmp_path / "corpus.toml", wrong)
        with pytest.raises(PostsError, match=words):
            manifest.read(tmp_path)


def test_lines_of_json_under_the_name_of_a_list(tmp_path):
    text = '{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n'
    assert manifest.read_file(write(tmp_path / "m.json", text)).posts["text"].tolist() == ["a", "b"]
    assert manifest.read_file(write(tmp_path / "m.json", '[{"text": "a", "label": 1}, {"text": "", "label": 0}]'))


def test_names_as_others_write_them(tmp_path):
    for name in ("a b.jpg", "c.jpg"):
        picture(tmp_path / "img" / name)
    rows = [
        {"ID": 1, "Content": "a", "Label": "Fake", "Image": ["img\\a b.jpg", "img/c.jpg"], "Split": "Train"},
        {"ID": 2, "Content": "b", "Label": 0.0, "Image": " img/c.jpg", "Split": "train"},
        {"ID": 3, "Content": None, "Label": "0.0", "Image": [], "Split": "VAL"},
        {"ID": 4, "Content": "d", "Label": 1, "Image": "..\\..\\secret.jpg", "Split": "val"},
    ]
    corpus = manifest.read_file(write(tmp_path / "m.json", json.dumps(rows)))
    assert corpus.posts[["post_id", "label", "split", "image"]].values.tolist() == [
        ["1", 1, "train", "img/a b.jpg"], ["2", 0, "train", "img/c.jpg"]
    ]  # fmt: skip
    assert (
        corpus.dropped["reason"][0] == "no image" and "'../../secret.jpg' is not a path" in corpus.dropped["reason"][1]
    )


def test_one_file_per_split(tmp_path):
    for i in range(3):
        picture(tmp_path / f"{i}.jpg")
    rows = [{"text": f"t{i}", "label": i % 2, "image": f"{i}.jpg", "domain": "flood"} for i in range(3)]
    write(tmp_path / "train.json", json.dumps(rows))
    write(tmp_path / "val.jsonl", "".join(json.dumps(row) + "\n" for row in rows[:2]))
    write(tmp_path / "test.csv", "text,label,image\nx,1,0.jpg\ny,0,9.jpg\n")
    write(tmp_path / "train.csv", "epoch,loss\n1,0.5\n")  # not a list of posts
    assert manifest.recognise(tmp_path)
    corpus = manifest.read(tmp_path)
    assert corpus.posts["post_id"].tolist() == ["train-1", "train-2", "train-3", "val-1", "val-2", "test-1"]
    assert corpus.posts["split"].tolist() == ["train"] * 3 + ["dev"] * 2 + ["test"]
    assert corpus.dropped[["post_id", "source", "row"]].values.tolist() == [["test-2", "test.csv", 2]]
    write(tmp_path / "test.json", json.dumps(rows))
    with pytest.raises(PostsError, match=r"test\.csv and test\.json; keep one"):
        manifest.read(tmp_path)


def test_ids_of_nineteen_digits_stay_exact(tmp_path):
    ids = ["5527846005029150721", "5527846005029150722", "0012"]
    for name, text in (
        ("m.csv", "id,text,label\n" + "".join(f"{i},t,{k % 2}\n" for k, i in enumerate(ids))),
        ("m.json", json.dumps([{"id": i, "text": "t", "label": k % 2} for k, i in enumerate(ids)])),
        ("m.jsonl", "".join(f'{{"id": {i}, "text": "t", "label": {k % 2}}}\n' for k, i in enumerate(ids[:2]))),
    ):
        found = manifest.read_file(write(tmp_path / name, text)).posts["post_id"].tolist()
        assert found == ids[: len(found)] and len(found) > 1


def test_a_hundred_thousand_rows_need_little_memory(tmp_path):
    rows = "".join(
        f"{10**15 + i},word {i} @me http://t.co/{i} and more,{i % 2},{i % 50}.jpg,flood\n" for i in range(100_000)
    )
    for i in range(50):
        picture(tmp_path / f"{i}.jpg")
    path = write(tmp_path / "manifest.csv", "id,text,label,image,domain\n" + rows)
    tracemalloc.start()
    corpus = manifest.read_file(path)
    peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert len(corpus.posts) == 100_000 and corpus.dropped.empty
    assert peak_mib < 400, peak_mib


# --- the corpora ----------------------------------------------------------------------------


def test_unknown_names_and_absent_folders(tmp_path):
    with pytest.raises(config.SettingError, match=r"no corpus called 'twiter'; there are demo-en.*mean 'twitter'"):
        corpora.load("twiter", at(tmp_path))
    with pytest.raises(config.SettingError, match="no corpus called 'coco'"):
        corpora.load_captions("coco", at(tmp_path))
    with pytest.raises(PostsError, match="put the twitter files there"):
        corpora.load("twitter", at(tmp_path))
    with pytest.raises(PostsError, match=r"has no layout we know.*manifest\.csv"):
        corpora.load("manifest", at(tmp_path))


def test_twitter(tmp_path):
    lines = ["id,text,label,split,event,image,lang,created_at"]
    for i in range(10):
        split, k = "train" if i < 6 else "test", i // 2
        lines.append(f"{i},Look @a{i} http://t.co/{i} {'abcde'[k] * 9},{k % 2},{split},storm,images/p{k}.jpg,en,x")
    write(tmp_path / "twitter_mediaeval2016" / "posts.csv", "\n".join(lines) + "\n")
    for name in ("p0", "p1", "p3", "p4"):
        picture(tmp_path / "twitter_mediaeval2016" / "images" / f"{name}.jpg")
    corpus = corpora.load("twitter", at(tmp_path))
    assert corpus.posts["post_id"].tolist() == ["0", "1", "2", "3", "6", "7", "8", "9"]
    assert corpus.posts["text_group"].nunique() == 4
    assert corpus.posts["image_group"].nunique() == 1  # four copies of one black picture
    assert (corpus.posts["weight"] == 0.125).all()
    assert corpus.dropped["post_id"].tolist() == ["4", "5"]
    assert "fake" in corpus.label_means
    write(tmp_path / "twitter_mediaeval2016" / "posts.csv", "id,text,label,image,lang\n1,a,1,p,en\n")
    with pytest.raises(PostsError, match="column split, event, created_at is missing"):
        corpora.load("twitter", at(tmp_path))


def test_pheme(tmp_path):
    lines = ["id,text,label,veracity,event,created_at,has_media,n_reactions", "552,One,0,,ferguson,Wed,0,3"]
    lines += ["553,Two,1,false,gurlitt,Wed,1,4", ""]
    write(tmp_path / "pheme_text" / "posts.csv", "\n".join(lines))
    corpus = corpora.load("pheme-text", at(tmp_path))
    assert corpus.posts[["post_id", "label", "split", "event"]].values.tolist() == [
        ["552", 0, "", "ferguson"],
        ["553", 1, "", "gurlitt"],
    ]
    assert "veracity" not in corpus.posts.columns


def captions(root, rows, language="en"):
    for key in {row.split(",")[0] for row in rows} - {"images/gone.jpg"}:
        picture(root / "flickr8k" / key)
    write(root / "flickr8k" / f"captions_{language}.csv", "\n".join(["image,caption_id,caption,split", *rows, ""]))


def test_captions(tmp_path):
    captions(
        tmp_path,
        [
            "images/a.jpg,1,second ,train",
            "images/a.jpg,0,first,train",
            "images/b.jpg,0,third,val",
            "images/c.jpg,0, ,test",
            "images/gone.jpg,0,lost,test",
            "images/d.jpg,0,left,unassigned",
        ],
    )
    corpus = corpora.load_captions("flickr8k-en", at(tmp_path))
    assert corpus.captions.values.tolist() == [
        ["images/a.jpg", 0, "first", "train", "en"],
        ["images/a.jpg", 1, "second", "train", "en"],
        ["images/b.jpg", 0, "third", "dev", "en"],
        ["images/d.jpg", 0, "left", "unassigned", "en"],
    ]
    assert corpus.dropped[["post_id", "row", "reason"]].values.tolist() == [
        ["images/c.jpg#0", 4, "empty caption"],
        ["images/gone.jpg#0", 5, "image images/gone.jpg does not exist"],
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["images/a.jpg,x,one,train"], "row 1: caption_id 'x' is no whole number"),
        (["images/a.jpg,0,one,train", "images/a.jpg,0,two,train"], "row 2: image and caption_id repeat"),
        (["images/a.jpg,0,one,train", "images/a.jpg,1,two,test"], "images/a.jpg stands in two splits"),
        (["images/gone.jpg,0,one,train"], "none of 1 pictures exists"),
    ],
)
def test_caption_errors(tmp_path, rows, message):
    captions(tmp_path, rows)
    with pytest.raises(PostsError, match=message):
        corpora.load_captions("flickr8k-en", at(tmp_path))


# --- the real files -------------------------------------------------------------------------


@pytest.fixture
def real():
    if not os.environ.get("RUMORLIB_DATA"):
        pytest.skip("RUMORLIB_DATA is not set")
    return at(None)


def counts(table):
    return table.groupby(["split", "label"]).size().to_dict()


@pytest.mark.real_data
def test_real_twitter(real):
    corpus = corpora.load("twitter", real)
    assert len(corpus.posts) == 14881 and corpus.dropped.empty
    assert corpus.posts["image"].nunique() == 484
    assert counts(corpus.posts) == {("train", 1): 7557, ("train", 0): 6207, ("test", 1): 643, ("test", 0): 474}
    dev = protocols.split(corpus, protocols.usual(corpus))
    found = splits.crossings(dev).set_index("kind")["crossing"]
    assert found.to_dict() == {"image_group": 0, "text_group": 0, "event": 1}  # Sandy
    folds = splits.twitter_folds(corpus.posts)
    train = corpus.posts[folds >= 0].assign(fold=folds)
    images = train.groupby(["fold", "label"])["image_group"].nunique()
    assert images.max() - images.min() <= 12  # near-duplicates count once
    assert corpus.images.pixels(corpus.posts["image"][0], 32).shape == (32, 32, 3)


@pytest.mark.real_data
def test_real_weibo(real):
    corpus = corpora.load("weibo-text", real)
    assert len(corpus.posts) == 9527
    assert counts(corpus.posts) == {("train", 0): 3783, ("train", 1): 3748, ("test", 0): 996, ("test", 1): 1000}
    assert ((corpus.posts["text"].str.strip() == "") & (corpus.posts["label"] == 1)).sum() == 116
    assert (corpus.posts["text"].str.strip() == "").sum() == 116
    dev = protocols.split(corpus, protocols.usual(corpus))
    assert splits.crossings(dev)["crossing"].sum() == 0
    assert 740 <= (dev["split"] == "dev").sum() <= 760


@pytest.mark.real_data
def test_real_pheme(real):
    corpus = corpora.load("pheme-text", real)
    assert len(corpus.posts) == 6425
    assert corpus.posts["label"].sum() == 2402
    assert corpus.posts["event"].nunique() == 9
    for event in splits.PHEME_DEV:
        fold = protocols.split(corpus, protocols.parse(f"event:{event}"))
        assert splits.crossings(fold)["crossing"].sum() == 0
        assert (fold["split"] == "unassigned").sum() <= 5  # told of two events


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "sizes", "rumors", "events"),
    [("mfan-pheme", {"train": 1412, "dev": 221, "test": 385, "unassigned": 265}, 590, 5),
     ("mfan-weibo", {"train": 1026, "dev": 146, "test": 295}, 590, 0)],
)  # fmt: skip
def test_real_mfan(real, name, sizes, rumors, events):
    corpus = corpora.load(name, real)
    assert corpus.posts["split"].value_counts().to_dict() == sizes and corpus.dropped.empty
    assert corpus.posts.loc[corpus.posts["split"] != "unassigned", "label"].sum() == rumors
    assert corpus.posts["event"].replace("", None).nunique() == events
    assert protocols.usual(corpus).name == "published" and (corpus.posts["image"] != "").all()


@pytest.mark.real_data
@pytest.mark.parametrize("language", ["en", "zh"])
def test_real_captions(real, language):
    corpus = corpora.load_captions(f"flickr8k-{language}", real)
    assert len(corpus.captions) == 40455 and corpus.dropped.empty
    images = corpus.captions.groupby("split")["image"].nunique().to_dict()
    assert images == {"train": 6000, "dev": 1000, "test": 1000, "unassigned": 91}


def test_records_say_what_their_label_means():
    for record in config.CORPORA.values():
        assert bool(record.label_means) == (record.kind != "captions" and record.name != "manifest"), record.name
    assert posts.no_drops().columns.tolist() == list(posts.DROPPED_COLUMNS)
