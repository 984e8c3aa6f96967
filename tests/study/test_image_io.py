import concurrent.futures
import errno
import hashlib
import io
import os
import pathlib
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, image_limits

HEIGHT, WIDTH = 12, 20


def picture() -> np.ndarray:
    """A smooth picture of which no two turns are alike."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([rows * 20, columns * 12, 255 - rows * 10], axis=2).astype(np.uint8)


def save(path: pathlib.Path, pixels: np.ndarray | Image.Image, **arguments) -> pathlib.Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **arguments)
    return path


def opened(path: pathlib.Path, annotated_size=None, unclear_exif=None) -> tuple[image_io.LoadedImage | None, str]:
    problems = ProblemLog(quiet=True)
    loaded = image_io.open_image(path, problems, annotated_size, unclear_exif)
    assert all(problem.remedy for problem in problems.problems)
    return loaded, "; ".join(f"{problem.action}: {problem.reason}" for problem in problems.problems)


def test_a_plain_jpeg_keeps_its_bytes(tmp_path):
    path = save(tmp_path / "a.jpg", picture(), quality=60)
    loaded, said = opened(path)
    assert said == ""
    assert loaded.jpeg_bytes() == path.read_bytes()
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (loaded.width, loaded.height, loaded.pixels.shape) == (WIDTH, HEIGHT, (HEIGHT, WIDTH, 3))
    assert loaded.pixels.dtype == np.uint8


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "A.TIFF"])
def test_lossless_files_are_exact_and_encoded_the_same_way_each_time(tmp_path, name):
    loaded, said = opened(save(tmp_path / name, picture()))
    assert said == ""
    np.testing.assert_array_equal(loaded.pixels, picture())
    assert not loaded.is_plain_jpeg
    encoded = loaded.jpeg_bytes()
    assert encoded == image_io.encode_jpeg(picture())
    with Image.open(io.BytesIO(encoded)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert np.abs(np.asarray(image).astype(int) - picture()).mean() < 2


def test_the_content_decides_not_the_name(tmp_path):
    loaded, said = opened(save(tmp_path / "a.jpg", picture(), format="PNG"))
    np.testing.assert_array_equal(loaded.pixels, picture())
    assert "content is PNG" in said


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_viewers_do(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", picture(), exif=exif)
    turns = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
        7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda p: p.transpose(1, 0, 2)[::-1],
    }
    loaded, said = opened(path)
    np.testing.assert_array_equal(loaded.pixels, turns[orientation](picture()))
    assert ("turned as EXIF" in said) == (orientation != 1)
    # An annotation of the stored size keeps the stored pixels, where the sizes differ.
    kept, _ = opened(path, annotated_size=(WIDTH, HEIGHT))
    expected = picture() if orientation in (1, 5, 6, 7, 8) else turns[orientation](picture())
    np.testing.assert_array_equal(kept.pixels, expected)
    # Where the size fits both, boxes may have been drawn on either picture.
    is_clear = orientation in (1, 5, 6, 7, 8)
    for size, may_be_either in (((WIDTH, HEIGHT), not is_clear), (None, orientation != 1)):
        stored, said = opened(path, annotated_size=size, unclear_exif=image_io.STORED)
        np.testing.assert_array_equal(stored.pixels, picture())
        assert ("which their XML does not tell" in said) == may_be_either
    shown, said = opened(path, unclear_exif=image_io.TURNED)
    np.testing.assert_array_equal(shown.pixels, turns[orientation](picture()))
    assert ("showed the turned picture, which their XML does not tell" in said) == (orientation != 1)
    # A size that fits the turned picture alone decides, whatever is asked for.
    if orientation >= 5:
        shown, _ = opened(path, annotated_size=(HEIGHT, WIDTH), unclear_exif=image_io.STORED)
        np.testing.assert_array_equal(shown.pixels, turns[orientation](picture()))


def test_sixteen_bit_gray_is_scaled_by_the_depth_the_camera_used(tmp_path):
    for bits in (10, 12, 14, 16):
        values = np.linspace(0, 2**bits - 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
        loaded, said = opened(save(tmp_path / f"{bits}.tif", values))
        assert (loaded.pixels.min(), loaded.pixels.max()) == (0, 255)
        assert abs(loaded.pixels.mean() - 127.5) < 1
        assert f"read as {bits} bits (brightest {2**bits - 1})" in said
        assert "color of the stain is lost" in said


def png_of_16_bits(values: np.ndarray) -> bytes:
    """A PNG of uint16 [H, W, 3], which Pillow reads but cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_sixteen_bit_color_is_scaled_or_refused_when_its_upper_bits_are_empty(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_of_16_bits(picture().astype(np.uint16) * 256 + 77))
    loaded, said = opened(path)
    np.testing.assert_array_equal(loaded.pixels, picture())
    assert "16 bits a channel scaled to 8" in said
    path.write_bytes(png_of_16_bits(picture().astype(np.uint16) * 16))  # a 12-bit camera
    loaded, said = opened(path)
    assert loaded is None
    assert "upper 2 or more are unused" in said


def test_float_pixels_have_no_known_range(tmp_path):
    loaded, said = opened(save(tmp_path / "f.tif", picture()[..., 0].astype(np.float32) / 255))
    assert loaded is None
    assert "mode F" in said


@pytest.mark.parametrize(
    ("mode", "words"),
    [("L", "gray"), ("1", "gray"), ("P", ""), ("RGBA", "alpha"), ("LA", "alpha"), ("CMYK", "CMYK"), ("LAB", "LAB")],
)
def test_every_mode_becomes_three_channels(tmp_path, mode, words):
    image = Image.fromarray(picture())
    if mode == "LAB":
        pytest.importorskip("PIL.ImageCms")
        image = Image.new("LAB", image.size, (128, 128, 128))
    else:
        image = image.convert("L").convert("LA") if mode == "LA" else image.convert(mode)
    loaded, said = opened(save(tmp_path / "a.tif" if mode in ("CMYK", "LAB") else tmp_path / "a.png", image))
    assert loaded.pixels.shape == (HEIGHT, WIDTH, 3)
    assert words in said
    assert bool(words) == bool(said)


def test_colors_under_alpha_are_kept_as_stored(tmp_path):
    rgba = np.dstack([picture(), np.full((HEIGHT, WIDTH), 3, np.uint8)])
    loaded, _ = opened(save(tmp_path / "a.png", rgba))
    np.testing.assert_array_equal(loaded.pixels, picture())


def test_of_several_pages_the_first_is_read_and_that_is_said(tmp_path):
    pages = [Image.fromarray(picture()), Image.fromarray(255 - picture())]
    loaded, said = opened(save(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:]))
    np.testing.assert_array_equal(loaded.pixels, picture())
    assert "2 pictures in the file" in said


def test_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", picture())
    monkeypatch.setattr(image_limits, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    loaded, said = opened(path)
    assert loaded is None
    assert f"{WIDTH} x {HEIGHT} pixels" in said


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.97])
def test_a_file_cut_off_anywhere_is_a_row_not_an_exception(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    loaded, said = opened(path)
    assert loaded is None
    assert said.startswith("skipped: ")


def test_damaged_files_never_raise(tmp_path):
    random = np.random.default_rng(0)
    for suffix in (".jpg", ".png", ".tif", ".bmp"):
        data = np.frombuffer(save(tmp_path / f"a{suffix}", picture()).read_bytes(), np.uint8)
        for _ in range(60):
            damaged = data.copy()
            places = random.integers(0, len(data), 4)
            damaged[places] = random.integers(0, 256, 4)
            path = tmp_path / f"damaged{suffix}"
            path.write_bytes(damaged.tobytes())
            loaded, said = opened(path)
            assert loaded is not None or said.startswith("skipped: ")


def test_the_checksum_is_that_of_the_file_also_where_it_is_not_an_image(tmp_path):
    for number, data in enumerate([b"", b"no image", png_of_16_bits(np.zeros([4, 4, 3], np.uint16))[:-20]]):
        path = tmp_path / f"{number}.png"
        path.write_bytes(data)
        loaded, sha256 = image_io.read_image(path, ProblemLog(quiet=True))
        assert (loaded, sha256) == (None, hashlib.sha256(data).hexdigest())
    assert image_io.read_image(tmp_path / "none.png", ProblemLog(quiet=True)) == (None, None)
    headers = []
    path = save(tmp_path / "a.png", picture())
    image_io.read_image(path, ProblemLog(quiet=True), on_header=lambda *header: headers.append(header))
    assert headers == [(WIDTH, HEIGHT, path.stat().st_size)]


def test_another_decoder_gets_only_plain_jpegs_of_three_channels(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    files = {
        "plain.jpg": save(tmp_path / "plain.jpg", picture()),
        "turned.jpg": save(tmp_path / "turned.jpg", picture(), exif=exif),
        "gray.jpg": save(tmp_path / "gray.jpg", Image.fromarray(picture()).convert("L")),
        "cmyk.jpg": save(tmp_path / "cmyk.jpg", Image.fromarray(picture()).convert("CMYK")),
        "lossless.png": save(tmp_path / "lossless.png", picture()),
    }
    other = np.full([HEIGHT, WIDTH, 3], 5, np.uint8)
    used = set()
    for name, path in files.items():
        loaded, _ = image_io.read_image(path, ProblemLog(quiet=True), decode_jpeg=lambda data: other)
        assert (loaded.width, loaded.height) == (WIDTH, HEIGHT)
        assert loaded.jpeg == (path.read_bytes() if loaded.pixels is other else None)
        if loaded.pixels is other:
            np.testing.assert_array_equal(np.asarray(loaded.image), other)
            used.add(name)
    assert used == {"plain.jpg"}
    for unusable in (None, other[1:]):
        loaded, _ = image_io.read_image(
            files["plain.jpg"], ProblemLog(), decode_jpeg=lambda data, unusable=unusable: unusable
        )
        assert loaded.jpeg is None
        np.testing.assert_array_equal(loaded.pixels, opened(files["plain.jpg"])[0].pixels)


def test_pillows_warnings_are_silent_in_several_threads_and_heard_again_afterwards(tmp_path):
    inside, left = threading.Barrier(2), threading.Barrier(2)
    path = save(tmp_path / "a.png", picture())

    def read(first):
        def on_header(*header):
            inside.wait(10)
            if not first:
                left.wait(10)  # the other has left the block by now
                warnings.warn_explicit("odd metadata", UserWarning, "TiffImagePlugin.py", 1, "PIL.TiffImagePlugin")

        image_io.read_image(path, ProblemLog(), on_header=on_header)
        if first:
            left.wait(10)

    with warnings.catch_warnings(record=True) as heard, concurrent.futures.ThreadPoolExecutor(2) as pool:
        warnings.simplefilter("always")
        list(pool.map(read, [True, False]))
        assert heard == []
        warnings.warn_explicit("odd metadata", UserWarning, "TiffImagePlugin.py", 1, "PIL.TiffImagePlugin")
        assert len(heard) == 1


def test_a_folder_or_missing_file_is_a_row(tmp_path):
    for path in (tmp_path, tmp_path / "none.jpg"):
        loaded, said = opened(path)
        assert loaded is None
        assert "cannot be read" in said


def progressive(num_scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until it has this many."""
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    return data[:last] + scan * (num_scans - image_limits.jpeg_scans(data) + 1) + data[-2:]


def test_a_jpeg_of_thousands_of_scans_is_refused_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(progressive(100))
    assert opened(path)[0] is not None
    path.write_bytes(progressive(3000))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    loaded, said = opened(path)
    assert loaded is None
    assert "3,000 scans, more than 100" in said


def test_an_image_file_of_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = save(tmp_path / "a.jpg", picture())
    os.truncate(path, 6_000_000_000)
    loaded, said = opened(path)
    assert loaded is None
    assert "6,000,000,000 bytes" in said


def test_a_pipe_is_a_row(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    loaded, said = opened(tmp_path / "a.jpg")
    assert loaded is None
    assert "is a named pipe" in said


def test_pages_of_a_tiff_are_counted_up_to_a_hundred(tmp_path):
    pages = [Image.new("L", (4, 4))] * 102
    loaded, said = opened(save(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:]))
    assert loaded is not None
    assert "more than 100 pictures in the file" in said


def test_an_image_that_the_disk_did_not_give_has_no_checksum_and_is_tried_again(tmp_path, monkeypatch):
    """A moment later the disk answers again, so that a checksum could be computed."""
    path = save(tmp_path / "a.png", picture())

    def fails(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(image_io.given_files, "read_open", fails)
    problems = ProblemLog(quiet=True)
    assert image_io.read_image(path, problems) == (None, None)
    assert "the file cannot be read (Input/output error)" in problems.problems[0].reason
    monkeypatch.undo()
    assert image_io.read_image(path, problems)[1] == hashlib.sha256(path.read_bytes()).hexdigest()
