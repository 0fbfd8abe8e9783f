"""Pictures: formats, damage, bounds, orientation, transparency, keys."""

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from rumorlib.data.images import ArrayImages, FolderImages, ImageError, files_by_stem


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
    with pytest.raises(ImageError, match="cannot be read"):
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
    assert images.opens("a.jpg") and images.pixels("a.jpg", 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "content", [b"<html>404</html>", b"", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF", b"P6 1 1 255 abc"]
)
def test_what_is_no_picture(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    images = FolderImages(tmp_path)
    assert images.has("a.jpg") and not images.opens("a.jpg")
    with pytest.raises(ImageError, match=r"a\.jpg cannot be decoded .* remove its posts"):
        images.pixels("a.jpg", 8)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    """60,000 x 60,000 pixels in a few bytes: 10 GB if they were decoded."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    images = FolderImages(tmp_path)
    assert not images.opens("a.png")
    with pytest.raises(ImageError, match=r"a\.png (has 60000x60000 pixels|cannot be decoded)"):
        images.pixels("a.png", 8)


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
