import errno
import hashlib
import os
import sys

import numpy as np
import pytest

from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_limits, large_tiff
from tfod_csf.study.image_limits import ImageLimitError
from tfod_csf.study.large_tiff import LargeTiff, ReadAgainError

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

HEIGHT, WIDTH = 300, 410
Y, X = np.mgrid[:HEIGHT, :WIDTH]
PIXELS = np.stack([(X // 2) % 256, (Y // 2) % 256, (X + Y) // 4 % 256], axis=-1).astype(np.uint8)


def write(path, pixels=PIXELS, **options):
    options = {"photometric": "rgb", "tile": (64, 48), **options}
    tifffile.imwrite(path, pixels, **options)
    return path


def opened(path):
    return LargeTiff(path, ProblemLog(quiet=True))


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("blocks", [{"tile": (64, 48)}, {"tile": None, "rowsperstrip": 7}])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_rectangles_of_every_kind_of_tiff(tmp_path, compression, blocks, bigtiff):
    exact = {"compressionargs": {"level": 95}} if compression == "jpeg" else {}
    path = write(tmp_path / "a.tif", compression=compression, bigtiff=bigtiff, **blocks, **exact)
    assert large_tiff.is_tiff(path.read_bytes()[:4])
    with opened(path) as tiff:
        assert (tiff.width, tiff.height) == (WIDTH, HEIGHT)
        for top, left, bottom, right in [
            (0, 0, HEIGHT, WIDTH),
            (5, 47, 70, 49),
            (250, 300, HEIGHT, WIDTH),
            (9, 9, 10, 10),
        ]:
            found = tiff.read(top, left, bottom, right)
            assert (found.dtype, found.flags.c_contiguous) == (np.uint8, True)
            wrong = np.abs(found.astype(int) - PIXELS[top:bottom, left:right])
            assert wrong.shape == (bottom - top, right - left, 3)
            # JPEG keeps a smooth slope within a few gray levels; the jumps from 255 to 0 are not smooth.
            assert wrong.max() == 0 if compression != "jpeg" else np.median(wrong) <= 3


def test_no_more_blocks_are_kept_than_the_rows_that_are_read_need(tmp_path):
    # 9 tiles a row of tiles; 64 rows from row 10 lie in 2 rows of tiles, and one more row of tiles is kept.
    with opened(write(tmp_path / "a.tif", compression="lzw")) as tiff:
        for left in range(0, WIDTH - 48, 48):
            for top in (10, 170, 236):
                tiff.read(top, left, top + 64, left + 48)
        assert len(tiff._blocks) <= 3 * 9


def test_what_had_to_be_done_is_reported(tmp_path):
    gray = write(tmp_path / "gray.tif", PIXELS[..., 0], photometric="minisblack", compression="lzw")
    alpha = write(tmp_path / "alpha.tif", np.dstack([PIXELS, PIXELS[..., 0]]), extrasamples=["unassalpha"])
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        writer.write(PIXELS, photometric="rgb", tile=(64, 48))
        writer.write(PIXELS[::2, ::2], photometric="rgb", tile=(64, 48))
    problems = ProblemLog(quiet=True)
    with LargeTiff(gray, problems) as tiff:
        assert np.array_equal(tiff.read(0, 0, 9, 9), np.dstack([PIXELS[:9, :9, 0]] * 3))
    with LargeTiff(alpha, problems) as tiff:
        assert np.array_equal(tiff.read(0, 0, 9, 9), PIXELS[:9, :9])
    with LargeTiff(tmp_path / "pages.tif", problems) as tiff:
        assert (tiff.width, tiff.height) == (WIDTH, HEIGHT)
    assert [problem.reason for problem in problems.problems] == [
        "gray, made three equal channels: the color of the stain is lost",
        "the alpha channel was dropped, colors kept as stored",
        "2 pictures in the file, of which the first was read",
    ]


@pytest.mark.parametrize(
    ("pixels", "options", "reason"),
    [
        (PIXELS.astype(np.uint16), {}, "16 bits a channel"),
        (PIXELS.transpose(2, 0, 1).copy(), {"planarconfig": "separate"}, "channels stored apart"),
        (PIXELS, {"compression": "zstd"}, "compressed with ZSTD"),
        (PIXELS, {"extratags": [(274, "H", 1, 6, True)]}, "orientation 6"),
        (np.dstack([PIXELS, PIXELS[..., 0]]), {"photometric": "separated"}, "4 channels of kind SEPARATED"),
    ],
)
def test_what_is_not_read_is_refused_with_what_to_do(tmp_path, pixels, options, reason):
    with pytest.raises(ImageLimitError) as error:
        opened(write(tmp_path / "a.tif", pixels, **options))
    assert reason in error.value.args[0]
    assert error.value.args[1].startswith("Export it as a tiled TIFF")


def test_more_pixels_than_the_limit_are_refused_by_the_header(tmp_path, monkeypatch):
    monkeypatch.setattr(image_limits, "MAX_TILED_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(ImageLimitError, match="410 x 300 pixels, more than 122,999"):
        opened(write(tmp_path / "a.tif"))


def test_one_compressed_block_that_does_not_fit_is_refused_and_an_uncompressed_one_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(large_tiff, "_MAX_BLOCK_BYTES", 100_000)
    whole = {"tile": None, "rowsperstrip": HEIGHT}
    with pytest.raises(ImageLimitError, match="compressed as one block"):
        opened(write(tmp_path / "a.tif", compression="lzw", **whole))
    with opened(write(tmp_path / "b.tif", **whole)) as tiff:
        assert np.array_equal(tiff.read(17, 3, 40, 400), PIXELS[17:40, 3:400])


def test_the_checksum_is_the_files_and_a_file_that_changes_is_noticed(tmp_path):
    path = write(tmp_path / "a.tif")
    with opened(path) as tiff:
        assert tiff.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        tiff.check_unchanged()
        with path.open("ab") as file:
            file.write(b"0")
        with pytest.raises(ReadAgainError, match="changed while"):
            tiff.check_unchanged()


def test_a_disk_that_gives_no_answer_is_not_taken_for_a_damaged_file(tmp_path, monkeypatch):
    with opened(write(tmp_path / "a.tif")) as tiff:

        def read(index):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(tiff, "_decoded", read)
        with pytest.raises(ReadAgainError, match="the file cannot be read"):
            tiff.read(0, 0, 10, 10)


def test_a_truncated_file_is_refused_when_it_is_opened(tmp_path):
    path = write(tmp_path / "a.tif", compression="lzw")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ImageLimitError, match=r"truncated|cannot be read"):
        opened(path)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "jpeg"])
def test_a_damaged_block_is_an_error_and_never_other_pixels(tmp_path, compression):
    path = write(tmp_path / "a.tif", compression=compression)
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[10], tiff.pages[0].databytecounts[10]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    with opened(path) as tiff, pytest.raises(ImageLimitError, match="damaged or truncated"):
        tiff.read(0, 0, HEIGHT, WIDTH)


def test_a_block_that_holds_a_larger_jpeg_is_not_decoded(tmp_path):
    large = write(tmp_path / "large.tif", compression="jpeg", tile=(256, 256))
    with tifffile.TiffFile(large) as tiff:
        page = tiff.pages[0]
        tiff.filehandle.seek(page.dataoffsets[0])
        block = tiff.filehandle.read(page.databytecounts[0])
    with pytest.raises(ValueError, match="48 x 64 pixels holds a JPEG of 256 x 256"):
        large_tiff._check_jpeg_size(block, (64, 48))
    with pytest.raises(ValueError, match="not a JPEG"):
        large_tiff._check_jpeg_size(b"\0" * 50, (64, 48))
    assert not large_tiff.is_tiff(block[:4])


@pytest.mark.parametrize("data", [b"", b"II*\0", b"II*\0\x08\0\0\0\xff\xff" + bytes(40), b"\xff\xd8\xff\xe0"])
def test_what_is_no_tiff_is_refused(tmp_path, data):
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(ImageLimitError, match=r"cannot be read|pixels|TIFF"):
        opened(path)


def test_without_the_extra_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageLimitError) as error:
        opened(path)
    assert "pip install 'tfod_csf[tiff]'" in error.value.args[1]
