"""Small corpora written in each published format: what the files look like, not what is in them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

from PIL import Image


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def picture(path: Path, kind: str = "JPEG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path, format=kind)
    return path


def manifest(root: Path) -> Path:
    picture(root / "a.jpg")
    write(root / "manifest.csv", "id,text,label,image\n1,one,fake,a.jpg\n2,two,real,a.jpg\n")
    return root


def weibo_record(post_id: str, urls: list[str], text: str, date: str = "1444444444444", author: str = "9") -> str:
    fields = [post_id, "name", "http://t/u", "null", date, "true", "1", "2", "3", author, "0", "1", "2", "3", "phone"]
    return "|".join(fields) + "\n" + "|".join([*urls, "null"]) + "\n" + text


LONG = "一名男子今天上午在火车站附近被人发现"


def weibo17(root: Path) -> Path:
    files = {
        "train_rumor": [("0000000000000001", ["http://w/large/ABC.jpg?version=2"], LONG), ("2", [], "")],
        "train_nonrumor": [
            ("3", ["http://w/x/d.gif", "http://w/x/e.jpg"], "短"),
            ("4", ["http://w/f.jpg"], "另\u2028行"),
        ],
        "test_rumor": [("5", ["http://w/g.jpg"], "测试\r")],
        "test_nonrumor": [("6", ["http://w/h.jpg", "http://w/i.jpg"], LONG + "！")],
    }
    for name, records in files.items():
        author = "null" if "nonrumor" in name else "9"  # as published
        text = "\n".join(weibo_record(*record, author=author) for record in records)
        write(
            root / f"{name}.txt", ("\ufeff" if name == "test_rumor" else "") + text + ("\n" if "test" in name else "")
        )
    return root


def tweet(post_id: str, text: str, parent: str = "", **more: object) -> str:
    found = {"id_str": post_id, "id": int(post_id), "text": text, "created_at": "Wed Jan 07 11:11:33 +0000 2015"}
    return json.dumps(found | {"user": {"id_str": "77"}, "in_reply_to_status_id_str": parent or None} | more)


def pheme(root: Path, version: int = 2) -> Path:
    """Two events, one thread per class each; with the files that macOS leaves in archives."""
    suffix, source = ("-all-rnr-threads", "source-tweets") if version == 2 else ("", "source-tweet")
    number = 552784600502915072
    for event in ("ferguson", "charliehebdo"):
        for folder in ("rumours", "non-rumours"):
            thread = root / (event + suffix) / folder / str(number)
            write(thread / source / f"{number}.json", tweet(str(number), f"{event} {folder}", lang="en"))
            write(thread / source / f"._{number}.json", "\0\5\x16\7")
            for k in (1, 2):
                write(thread / "reactions" / f"{number + k}.json", tweet(str(number + k), f"reply {k}", str(number)))
            write(thread / "reactions" / "._1.json", "\0")
            if version == 2:
                write(thread / "annotation.json", '{"is_rumour": "rumour"}')
                write(thread / "structure.json", "{}")
            write(thread.parent / ".DS_Store", "\0")
            number += 10
        write(root / f"._{event}{suffix}", "\0")
    write(root / ".DS_Store", "\0")
    return root


POSTS_HEADER = "post_id\tpost_text\tuser_id\timage_id(s)\tusername\ttimestamp\tlabel"
TRUTH_HEADER = "post_id\tpost_text\tuser_id\tusername\timage_id\ttimestamp\tlabel"


def mediaeval(root: Path, images: bool = True) -> Path:
    dev = [
        '101\t"Is it? storm\\nnow &amp; then\t9\tsandy_fake_03,sandy_fake_35\tann\tMon\tfake',
        "102\treal storm\t9\tsandy_real_01\tann\tMon\treal",
        "103\tfun\t9\tsandy_fake_03\tann\tMon\thumor",
        "104\tbroken\t9\tsandy_real_01\tann\tMon",
        "102\tagain\t9\tsandy_real_01\tann\tMon\treal",
        "105\ta film\t9\tfilm_1\tann\tMon\tfake",
    ]
    test = ["201\tparis\t9\tann\tattacks_paris_1\tMon\tfake", "202\tlyon\t9\tann\tattacks_lyon_2\tMon\treal"]
    write(root / "devset" / "posts.txt", "\n".join([POSTS_HEADER, *dev]) + "\n")
    write(root / "testset" / "posts.txt", TRUTH_HEADER.removesuffix("\tlabel") + "\n201\tparis\t9\tann\tx\tMon\n")
    write(root / "testset" / "posts_groundtruth.txt", "\n".join([TRUTH_HEADER, *test]) + "\n")
    if images:
        below = root / "devset" / "Medieval2016_DevSet_Images" / "Hurricane Sandy"
        picture(below / "fakes" / "sandy_fake_35.png", "PNG")
        picture(below / "reals" / "sandy_real_01.JPG")
        write(below / "film_1_video.txt", "http://v")
        picture(root / "testset" / "Images" / "attacks_paris_1.jpeg")
        picture(root / "testset" / "Images" / "attacks_lyon_2.gif", "GIF")
        write(root / "testset" / "Images" / "._attacks_paris_1.jpeg", "\0")
    return root


def ced(root: Path) -> Path:
    posts = {
        "1_M1_U1": ("rumor-repost",), "2_M2_U2": ("non-rumor-repost",), "3_M3_U3": ("rumor-repost",),
        "4_M4_U4": ("non-rumor-repost",), "5_M5_U5": (), "6_M6_U6": ("rumor-repost", "non-rumor-repost"),
    }  # fmt: skip
    for name, homes in posts.items():
        body = {"text": f"文 {name}", "user": {"name": "x"}, "time": 1, "pics": 2, "comments": 3}
        write(root / "original-microblog" / f"{name}.json", json.dumps(body))
        for home in homes:
            replies = [{"uid": "8", "text": "回复", "date": "2014-07-24 14:37:38", "mid": "r1", "parent": ""}]
            write(root / home / f"{name}.json", json.dumps(replies))
    write(root / "original-microblog" / "._1_M1_U1.json", "\0")
    write(root / ".DS_Store", "\0")
    return root


def mfan_weibo(root: Path) -> Path:
    rows = [
        "imgnum,mid,text,label",
        '1,M1,"甲，乙",1',
        "2,M2,丙,0",
        "3,M3,丁,1",
        "4,M4,戊,0",
        "5,M5,己,1",
        "6,M6,庚,0",
        "7,M7,辛,1",
    ]
    write(root / "weibocontentwithimage" / "weibo_content.csv", "\n".join(rows) + "\n")
    write(root / "weibocontentwithimage" / "._weibo_content.csv", "\0")
    ced(root / "weibocontentwithimage")
    splits = {
        "train": "M1\t甲\tfalse\nM2\t丙\tnon-rumor\n",
        "dev": "M3\t丁\tnon-rumor\n",
        "test": "M4\t戊\tnon-rumor\nM7\t辛\tfalse\nM9\t壬\tfalse\n",
    }
    for split, text in splits.items():
        write(root / "weibo_files" / f"weibo.{split}", text)
    for number in (1, 2, 3, 4, 5, 7):
        picture(root / "weibo_images" / "weibo_images_all" / f"{number}.jpg")
    picture(root / "weibo_images" / "rumor_images" / "1.jpg")
    return root


def mfan_pheme(root: Path) -> Path:
    write(root / "content.csv", 'imgnum,mid,text,label\n1,11,"a, b",1\n2,12,c,0\n3,13,d,1\n4,14,e,0\n')
    for split, text in {
        "train": "11\ta\tfalse\n12\tc\tnon-rumor\n",
        "test": "13\td\tunverified\n14\te\tnon-rumor\n",
    }.items():
        write(root / "pheme_files" / f"pheme.{split}", text)
    picture(root / "pheme_image" / "images" / "1.png", "PNG")
    picture(root / "pheme_image" / "pheme_images_jpg" / "2.jpg")
    picture(root / "pheme_image" / "pheme_images_jpg" / "3.jpg")
    picture(root / "pheme_image" / "pheme_images_jpg" / "4.jpg")
    return root


def mfan_republished(root: Path) -> Path:
    """MFAN's PHEME without tweet ids: the number of a post's picture is its name, lists of numbers are the split."""
    write(root / "content_noid.csv", 'image_id,text,label\n0,"a, b",1\n1,c,0\n2,d,1\n3,e,0\n4,f,1\n5,g,0\n')
    for split, numbers in {"train": "0\n1", "dev": "2\n5", "test": "3\n4\n9\n"}.items():
        write(root / f"{split}_ids.txt", numbers)
    for number in range(6):
        picture(root / "pheme_images_jpg" / f"{number}.jpg")
    return root


FLICKR = ("1000092795.jpg", "10002456.jpg", "1000268201.jpg")


def flickr30k(root: Path, form: str) -> Path:
    """form: karpathy, hf, token, entities (token with lists) or kaggle."""
    captions = {name: [f"{name} caption {k} ." for k in range(2)] for name in FLICKR}
    splits = dict(zip(FLICKR, ("train", "val", "test"), strict=True))
    if form == "karpathy":
        images = [
            {"filename": n, "split": splits[n], "sentences": [{"raw": raw, "tokens": []} for raw in captions[n]]}
            for n in FLICKR
        ]
        write(root / "dataset_flickr30k.json", json.dumps({"images": images, "dataset": "flickr30k"}))
    if form == "hf":
        rows = [",raw,sentids,split,filename,img_id".lstrip(",")]
        for k, n in enumerate(FLICKR):
            raw = json.dumps(captions[n]).replace('"', '""')
            rows.append(f'"{raw}","[0, 1]",{splits[n]},{n},{k}')
        write(root / "flickr_annotations_30k.csv", "\n".join(rows) + "\n")
    if form in ("token", "entities"):
        lines = [f"{n}#{k}\t{text}" for n in FLICKR for k, text in enumerate(captions[n])]
        write(root / "results_20130124.token", "\n".join(lines) + "\n")
    if form == "entities":
        for split, n in zip(("train", "val", "test"), FLICKR, strict=True):
            write(root / f"{split}.txt", n.removesuffix(".jpg") + "\n")
    place = root / "flickr30k-images"
    if form == "kaggle":  # nested twice; one line has lost its second bar
        lines = ["image_name| comment_number| comment"]
        lines += [f"{n}| {k}| {text}" for n in FLICKR for k, text in enumerate(captions[n])]
        lines[4] = lines[4].replace("| 1| ", "| 1   ")
        write(root / "flickr30k_images" / "results.csv", "\n".join(lines) + "\n")
        place = root / "flickr30k_images" / "flickr30k_images"
    for n in FLICKR:
        picture(place / n)
    return root


def flickr8k(root: Path) -> Path:
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    lines = [f"{n}#{k}\tCaption {k} of {n} ." for n in names for k in range(2)]
    lines.append("2258277193_586949ec62.jpg.1#0\tpeople waiting for the subway")
    write(root / "Flickr8k_text" / "Flickr8k.token.txt", "\n".join(lines) + "\n")
    for split, n in (("train", "a.jpg"), ("dev", "b.jpg"), ("test", "c.jpg")):
        write(root / "Flickr8k_text" / f"Flickr_8k.{split}Images.txt", n + "\n")
    for n in names:
        picture(root / "Flickr8k_Dataset" / "Flicker8k_Dataset" / n)
    return root


def flickr8k_cn(root: Path) -> Path:
    names = ["a", "b", "c", "d"]
    write(root / "flickr8kzhc.caption.txt", "".join(f"{n}.jpg#zhc#{k} 说明{k}{n}\n" for n in names for k in range(2)))
    for split, n in (("train", "a"), ("val", "b"), ("test", "c")):
        write(root / f"flickr8k{split}.txt", n + "\n")
    for n in names:
        picture(root / "Flicker8k_Dataset" / f"{n}.jpg")
    return root


COCO = ("COCO_train2014_000000217153", "COCO_val2014_000000000042", "COCO_val2014_000000000074")


def coco_cn(root: Path) -> Path:
    for split, n in zip(("train", "val", "test"), COCO, strict=True):
        write(root / f"coco-cn_{split}.txt", n + "\n")
        write(root / f"._coco-cn_{split}.txt", "\0")
    lines = [
        f"{COCO[0]}#1\t一只狗",
        f"{COCO[0]}#2 两只 狗",
        f"{COCO[1]}#0\t一只猫",
        f"{COCO[2]}#zhc#0\t一匹马",
        f"{COCO[2]}#1\t",
    ]
    write(root / "imageid.human-written-caption.txt", "\n".join(lines) + "\n")
    write(root / "._imageid.human-written-caption.txt", "\0")
    write(root / "imageid.human-written-caption.bosonseg.txt", "x")
    picture(root / "train2014" / f"{COCO[0]}.jpg")
    for n in COCO[1:]:
        picture(root / "val2014" / f"{n}.jpg")
    return root


def chinese_clip(root: Path) -> Path:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "blue").save(buffer, format="JPEG")
    packed = base64.b64encode(buffer.getvalue()).decode()
    for k, (split, n) in enumerate(zip(("train", "valid", "test"), COCO, strict=True)):
        coded = packed.replace("+", "-").replace("/", "_") if k else packed
        write(root / f"{split}_imgs.tsv", f"{n}\t{coded}\n")
        texts = [
            {"text_id": 2 * k, "text": "一只狗", "image_ids": [n]},
            {"text_id": 2 * k + 1, "text": "狗", "image_ids": [n]},
        ]
        write(root / f"{split}_texts.jsonl", "\n".join(json.dumps(t) for t in texts) + "\n")
    return root


def captions(root: Path) -> Path:
    for language, word in (("en", "dog"), ("zh", "狗")):
        rows = ["image,caption_id,caption,split", f"images/a.jpg,0,{word},train", f"images/b.jpg,0,{word},val"]
        write(root / f"captions_{language}.csv", "\n".join(rows) + "\n")
    picture(root / "images" / "a.jpg")
    picture(root / "images" / "b.jpg")
    return root


def twitter_table(root: Path) -> Path:
    rows = ["id,text,label,split,event,image,lang,created_at", "1,x,1,train,s,p.jpg,en,m", "2,y,0,train,s,p.jpg,en,m"]
    write(root / "posts.csv", "\n".join(rows) + "\n")
    picture(root / "p.jpg")
    return root


def pheme_table(root: Path) -> Path:
    rows = ["id,text,label,veracity,event,created_at,has_media,n_reactions", "552,One,0,,ferguson,Wed,0,3"]
    write(root / "posts.csv", "\n".join([*rows, "553,Two,1,false,gurlitt,Wed,1,4", ""]))
    return root
