"""Pictures: formats, damage, bounds, orientation, transparency, keys."""

import hashlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageFile

from rumorlib.data.images import ArrayImages, FolderImages, ImageError, edge_density, files_by_stem
from rumorlib.encoders.components import principal_rows


def save(path, mode="RGB", size=(40, 30), colour="red", kind="PNG", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size, colour)
    image.save(path, format=kind, **options)
    return image


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_every_format_becomes_a_square(tmp_path, kind):
    save(tmp_path / "picture", kind=kind)  # without extension, as on Weibo
    pixels = FolderImages(tmp_path).pixels("picture", 16)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert abs(pixels.astype(int) - [255, 0, 0]).max() < 6


def test_other_formats_are_refused(tmp_path):
    save(tmp_path / "a.png", kind="TIFF")
    with pytest.raises(ImageError, match=r"a\.png cannot be decoded"):
        FolderImages(tmp_path).pixels("a.png", 8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_half_a_file_is_refused(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format=kind)
    (tmp_path / "a").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.raises(ImageError, match=r"a cannot be decoded .* remove its posts"):
        FolderImages(tmp_path).pixels("a", 32)


def test_missing_empty_and_huge_files(tmp_path):
    images = FolderImages(tmp_path, max_pixels=1000)
    with pytest.raises(ImageError, match=r"b\.jpg does not exist"):
        images.pixels("b.jpg", 8)
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"empty\.jpg cannot be decoded"):
        images.pixels("empty.jpg", 8)
    save(tmp_path / "big.png")
    with pytest.raises(ImageError, match=r"big\.png has 40x30 pixels, more than 1,000"):
        images.pixels("big.png", 8)
    with pytest.raises(ImageError, match=r"b\.jpg does not exist"):
        images.content_hash("b.jpg")


@pytest.mark.parametrize("key", ["../a.png", "x/../../a.png", "/etc/a.png", "", "x\\a.png", "C:/a.png", "a\0.png"])
def test_keys_stay_inside_the_folder(tmp_path, key):
    save(tmp_path / "a.png")
    images = FolderImages(tmp_path / "inner")
    with pytest.raises(ImageError, match="relative path"):
        images.pixels(key, 8)
    assert not images.has(key)


def test_a_link_may_not_leave_the_folder(tmp_path):
    save(tmp_path / "secret.png")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ImageError, match="link that leaves"):
        FolderImages(tmp_path / "inner").pixels("a.png", 8)


def test_orientation_transparency_and_grey(tmp_path):
    images = FolderImages(tmp_path)
    picture = Image.fromarray(np.repeat(np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8), 2, axis=1).repeat(16, 0))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture.save(tmp_path / "turned.png", exif=exif)
    assert images.pixels("turned.png", 8)[0, 0].tolist() == [0, 0, 255]
    save(tmp_path / "clear.png", "RGBA", colour=(0, 0, 0, 0))
    assert images.pixels("clear.png", 8).min() == 255
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30])
    palette.save(tmp_path / "palette.gif", transparency=0)
    assert images.pixels("palette.gif", 8).min() == 255
    Image.fromarray(np.full((8, 8), 128 << 8, np.uint16)).save(tmp_path / "deep.png")
    assert images.pixels("deep.png", 8)[0, 0].tolist() == [128, 128, 128]
    save(tmp_path / "print.jpg", "CMYK", colour=(0, 0, 0, 0), kind="JPEG")
    assert images.pixels("print.jpg", 8).min() > 250


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_a_moving_picture_the_first_frame_counts(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "blue")]
    frames[0].save(tmp_path / "a", format=kind, save_all=True, append_images=frames[1:], duration=10)
    pixels = FolderImages(tmp_path).pixels("a", 8)
    assert abs(pixels.astype(int) - [255, 0, 0]).max() < 6


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_a_wrong_extension_does_not_matter(tmp_path, kind):
    save(tmp_path / "a.jpg", kind=kind)
    images = FolderImages(tmp_path)
    assert images.header("a.jpg") == (40, 30, kind) and images.pixels("a.jpg", 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "content", [b"<html>404</html>", b"", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF", b"P6 1 1 255 abc"]
)
def test_what_is_no_picture(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    images = FolderImages(tmp_path)
    assert images.has("a.jpg") and images.header("a.jpg") is None
    with pytest.raises(ImageError, match=r"a\.jpg cannot be decoded .* remove its posts"):
        images.pixels("a.jpg", 8)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    """60,000 x 60,000 pixels in a few bytes: 10 GB if they were decoded."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    content = png((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    (tmp_path / "a.png").write_bytes(content)
    images = FolderImages(tmp_path)
    assert images.header("a.png") is None
    with pytest.raises(ImageError, match=r"a\.png (has 60000x60000 pixels|cannot be decoded)"):
        images.pixels("a.png", 8)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    made = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def grey_png(width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    """A whole black picture, in rows of one filter byte and width pixels."""
    packer = zlib.compressobj(9)
    rows = 1_000_000
    blocks = [packer.compress(bytes((width + 1) * min(rows, height - row))) for row in range(0, height, rows)]
    data = b"".join([*blocks, packer.flush()])
    return png((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), *more, (b"IDAT", data), (b"IEND", b""))


def test_a_side_has_a_limit_read_before_the_pixels(tmp_path, monkeypatch):
    """1 x 49,000,000 in 95 kB: resizing it took 3 GB, though its area is below the limit."""
    images = FolderImages(tmp_path)
    (tmp_path / "long.png").write_bytes(grey_png(1, 49_000_000))
    assert (tmp_path / "long.png").stat().st_size < 100_000
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("its pixels were read"))
    assert images.header("long.png") is None
    with pytest.raises(ImageError, match=r"long\.png has 1x49000000 pixels, more than .* 65,535 on a side; shrink it"):
        images.pixels("long.png", 8)
    monkeypatch.undo()
    (tmp_path / "scroll.png").write_bytes(grey_png(3, 65_535))
    assert images.pixels("scroll.png", 8).max() == 0


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_what_unpacks_beside_the_pixels_is_bounded(tmp_path, kind):
    """A text or colour profile of 100 MB in 100 kB: Pillow stops at 1 MB, and the picture is a bad one."""
    packed = zlib.compress(bytes(100_000_000), 9)
    head = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind]
    (tmp_path / "a.png").write_bytes(grey_png(8, 8, (kind, head + packed)))
    with pytest.raises(ImageError, match=r"a\.png cannot be decoded \(.*too large"):
        FolderImages(tmp_path).pixels("a.png", 8)


def test_a_file_has_a_length(tmp_path):
    save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("r+b") as file:
        file.truncate(2**33)  # sparse: it takes no room on the disk
    for look in (
        lambda: FolderImages(tmp_path).pixels("a.png", 8),
        lambda: FolderImages(tmp_path).content_hash("a.png"),
    ):
        with pytest.raises(ImageError, match=r"a\.png has 8,589,934,592 bytes, more than 268,435,456; shrink it"):
            look()


def tiff(orientation: int, tag: int, kind: int, value: bytes) -> bytes:
    """EXIF with an orientation and one more tag of any type."""
    entries = [(0x0112, 3, 1, struct.pack("<HH", orientation, 0)), (tag, kind, 1, struct.pack("<I", 38))]
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in sorted(entries))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + body + struct.pack("<I", 0) + value


@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [
        (0x011A, 2, b"72\0\0\0\0\0\0"),  # a resolution that is text
        (0x010F, 5, struct.pack("<II", 1, 3)),  # a camera whose name is a fraction
        (0x0110, 12, struct.pack("<d", 0.5)),
    ],
)
def test_odd_tags_beside_an_orientation_do_not_matter(tmp_path, tag, kind, value):
    """Pillow would write them back to the picture it turned, and cannot (TypeError, AttributeError)."""
    picture = Image.fromarray(np.repeat(np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8), 16, axis=1).repeat(8, 0))
    picture.save(tmp_path / "a.jpg", quality=95, exif=tiff(3, tag, kind, value))
    assert abs(FolderImages(tmp_path).pixels("a.jpg", 8)[0, 0].astype(int) - [0, 0, 255]).max() < 20  # upright


@pytest.mark.parametrize("step", ["open", "load", "getexif", "convert"])
@pytest.mark.parametrize("error", [TypeError("x"), AttributeError(), RuntimeError("x"), RecursionError(), KeyError(1)])
def test_whatever_a_picture_does_it_is_a_bad_picture(tmp_path, monkeypatch, step, error):
    save(tmp_path / "a.png")

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(Image if step == "open" else Image.Image, step, fails)
    with pytest.raises(ImageError, match=r"a\.png cannot be decoded \(.+\); replace it by a whole .* remove its posts"):
        FolderImages(tmp_path).pixels("a.png", 8)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_what_is_not_the_pictures_fault_passes(tmp_path, monkeypatch, error):
    save(tmp_path / "a.png")

    def fails(*_):
        raise error

    monkeypatch.setattr(Image.Image, "load", fails)
    with pytest.raises(error):
        FolderImages(tmp_path).pixels("a.png", 8)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["loop", "pipe", "folder", "broken"])
def test_only_regular_files_are_opened(tmp_path, kind):
    place = tmp_path / "a.jpg"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("a.jpg" if kind == "loop" else "gone.jpg")
    images = FolderImages(tmp_path)
    assert not images.has("a.jpg") and images.header("a.jpg") is None
    for look in (lambda: images.pixels("a.jpg", 8), lambda: images.content_hash("a.jpg")):
        with pytest.raises(ImageError, match=r"a\.jpg (is a link that leads to itself|cannot be read|does not exist)"):
            look()
    save(tmp_path / "b.jpg")
    os.link(tmp_path / "b.jpg", tmp_path / "a.png")
    assert files_by_stem(tmp_path) == {"a": "a.png", "b": "b.jpg"}


def test_names_that_the_disk_refuses(tmp_path):
    images = FolderImages(tmp_path)
    assert not images.has("x" * 300)
    with pytest.raises(ImageError, match="is no file name"):
        images.pixels("x" * 300, 8)


def test_files_by_stem(tmp_path):
    for name in ("a.jpg", "sub/b.PNG", "sub/c", "sub/._d.jpg", ".hidden/e.jpg", "__MACOSX/f.jpg", "notes.txt"):
        save(tmp_path / name)
    assert files_by_stem(tmp_path) == {"a": "a.jpg", "b": "sub/b.PNG", "c": "sub/c"}


def test_drafted_jpegs_keep_their_content(tmp_path):
    y, x = np.mgrid[:1200, :1600]
    smooth = np.stack([x * 255 / 1600, y * 255 / 1200, (x + y) * 255 / 2800], axis=2).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    pixels = FolderImages(tmp_path).pixels("a.jpg", 64).astype(int)
    whole = np.asarray(Image.fromarray(smooth).resize((64, 64), Image.Resampling.BICUBIC)).astype(int)
    assert abs(pixels - whole).max() < 8


def test_content_hash_is_of_the_bytes(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "sub" / "b.png")
    images = FolderImages(tmp_path)
    assert images.content_hash("a.png") == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert images.content_hash("a.png") == images.content_hash("sub/b.png")
    assert images.has("sub/b.png") and not images.has("sub")


def test_array_images():
    array = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    images = ArrayImages(["x", "y"], array)
    assert (images.pixels("y", 8) == array[1]).all()
    assert images.pixels("x", 4).shape == (4, 4, 3)
    images.pixels("x", 8)[:] = 0  # a copy
    assert images.array[0].any()
    assert images.content_hash("x") != images.content_hash("y")
    assert images.has("x") and not images.has("z")
    with pytest.raises(ImageError, match="no picture 'z'"):
        images.pixels("z", 8)
    with pytest.raises(ValueError, match="distinct"):
        ArrayImages(["x", "x"], array)
    with pytest.raises(ValueError, match="expected 1 uint8"):
        ArrayImages(["x"], array)


def test_a_crowded_picture_has_more_edges_than_a_calm_one():
    blank = np.full((64, 64, 3), 90, np.uint8)
    step, stripes = blank.copy(), blank.copy()
    step[:, 32:] = 200
    stripes[:, ::8] = 200
    found = [edge_density(pixels) for pixels in (blank, step, stripes)]
    assert found[0] == 0 and found == sorted(found) and found[1] < found[2]


# --- Principal components of frozen maps: what a row keeps, who takes part in the fit, and what ---


@pytest.fixture
def maps() -> torch.Tensor:
    """Twenty pictures of 3 x 3 cells whose 32 channels hold 4 numbers; the last picture is blank."""
    torch.manual_seed(0)
    made = torch.einsum("ikhw,kc->ichw", torch.randn(20, 4, 3, 3), torch.randn(4, 32)).half()
    made[-1] = 0
    return made


def test_products_of_standardised_rows_survive(maps: torch.Tensor) -> None:
    rows, kept = principal_rows(maps, torch.arange(19), 8)
    standard = F.layer_norm(maps[:19].float().flatten(2).transpose(1, 2), (32,)).flatten(0, 1)
    centred = standard - standard.mean(0)
    made = rows[:19].float().flatten(0, 1)
    assert rows.shape == (20, 9, 8) and rows.dtype == torch.float16 and kept > 0.95
    products = centred @ centred.T
    assert (made @ made.T - products).norm() < 0.1 * products.norm()
    assert torch.allclose(made.mean(0), torch.zeros(8), atol=1e-2)


def test_a_blank_picture_stays_blank(maps: torch.Tensor) -> None:
    rows, _ = principal_rows(maps, torch.arange(19), 4)
    assert not rows[-1].any() and rows[:19].flatten(1).any(dim=1).all()


def test_pictures_of_dev_and_test_take_no_part_in_the_fit(maps: torch.Tensor) -> None:
    before, _ = principal_rows(maps, torch.arange(10), 4)
    other = maps.clone()
    other[10:19] = torch.randn_like(other[10:19])
    after, _ = principal_rows(other, torch.arange(10), 4)
    assert torch.equal(before[:10], after[:10]) and not torch.equal(before[10:19], after[10:19])


def test_more_components_than_rows_are_refused(maps: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="components need"):
        principal_rows(maps, torch.arange(1), 10)
