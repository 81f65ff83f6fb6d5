"""Pictures to train on, as Pillow decodes and resizes them and diffusers' training script crops them.

tests/data/load_pictures.cpp is the program under test.
"""

import io
import json
import struct
import subprocess
import zlib

import numpy as np
import pytest
from conftest import BUILD_DIR, TIMEOUT, shared_file
from PIL import Image, ImageOps

LOAD_PICTURES = BUILD_DIR / "bin" / "load_pictures"
ORIENTATION = 0x0112
SIZES = [(1, 1), (7, 5), (33, 64)]  # (width, height)
BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "#1e90ff": (30, 144, 255)}


@pytest.fixture(scope="module", autouse=True)
def program():
    """One process for all tests: it takes longer to start than to answer."""
    with subprocess.Popen(
        [LOAD_PICTURES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        ask.process = process
        yield
        process.stdin.close()
        assert process.wait(timeout=TIMEOUT) == 0


def ask(request):
    ask.process.stdin.write(json.dumps(request) + "\n")
    ask.process.stdin.flush()
    return json.loads(ask.process.stdout.readline())


def noise(width, height, channels, seed=0):
    """Smooth enough for a JPEG, and different in every channel."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (2 + height // 4, 2 + width // 4, channels), dtype=np.uint8)
    planes = [
        np.asarray(Image.fromarray(small[..., c]).resize((width, height), Image.BICUBIC))
        for c in range(channels)
    ]
    return np.stack(planes, axis=-1)


def as_pillow(path, background=(255, 255, 255)):
    """What diffusers' load_image gives, on a background."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=-1)
        if "A" not in image.getbands() and "transparency" not in image.info:
            return np.asarray(image.convert("RGB"))
        image = image.convert("RGBA")
        under = Image.new("RGB", image.size, background)
        under.paste(image, mask=image.getchannel("A"))
        return np.asarray(under)


def decoded(tmp_path, path, **options):
    out = tmp_path / "raw"
    answer = ask({"file": str(path), "out": str(out), **options})
    assert "error" not in answer, answer
    height, width = options.get("size", (answer["height"], answer["width"]))
    return np.fromfile(out, np.uint8).reshape(height, width, 3)


def difference(ours, theirs):
    assert ours.shape == theirs.shape
    return int(np.abs(ours.astype(int) - theirs.astype(int)).max())


def error_of(path, tmp_path):
    answer = ask({"file": str(path), "out": str(tmp_path / "raw")})
    assert str(path) in answer["error"]
    return answer["error"]


# ---------------------------------------------------------------------------------------- decoding


def images_of(width, height):
    rgba = Image.fromarray(noise(width, height, 4))
    rgb = rgba.convert("RGB")
    palette = rgb.quantize(17)
    grey = noise(width, height, 1)[..., 0]
    return {
        "rgb": rgb,
        "rgba": rgba,
        "grey": rgb.convert("L"),
        "grey_alpha": rgba.convert("LA"),
        "palette": palette,
        "one_bit": rgb.convert("1"),
        "grey16": Image.fromarray(grey.astype(np.uint16) * 256 + 200),
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_png_of_every_mode_is_pillows(tmp_path, size, background):
    files = {}
    for name, image in images_of(*size).items():
        image.save(tmp_path / f"{name}.png")
        files[name] = tmp_path / f"{name}.png"
    files["palette_with_a_hole"] = tmp_path / "hole.png"
    images_of(*size)["palette"].save(files["palette_with_a_hole"], transparency=3)
    files["rgb_with_a_hole"] = tmp_path / "rgb_hole.png"
    image = images_of(*size)["rgb"]
    image.save(files["rgb_with_a_hole"], transparency=image.getpixel((0, 0)))
    for name, path in files.items():
        ours = decoded(tmp_path, path, background=background)
        assert difference(ours, as_pillow(path, BACKGROUNDS[background])) == 0, name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_pillows(tmp_path, size, subsampling, progressive):
    for name in ["rgb", "grey"]:
        path = tmp_path / f"{name}.jpg"
        options = {"subsampling": subsampling} if name == "rgb" else {}
        images_of(*size)[name].save(path, quality=85, progressive=progressive, **options)
        assert difference(decoded(tmp_path, path), as_pillow(path)) <= 2, name


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_turned_as_exif_says(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[0x010F] = "a camera with a name longer than four bytes"
    exif[ORIENTATION] = orientation
    path = tmp_path / f"turned.{ending}"
    options = {"quality": 95, "subsampling": 0} if ending == "jpg" else {"lossless": True}
    Image.fromarray(noise(24, 9, 3)).save(path, exif=exif, **options)
    assert difference(decoded(tmp_path, path), as_pillow(path)) <= 2
    assert decoded(tmp_path, path).shape[:2] == ((9, 24) if orientation < 5 else (24, 9))


@pytest.mark.parametrize("size", SIZES)
def test_webp_is_pillows(tmp_path, size):
    for name in ["rgb", "rgba"]:
        for lossless in [True, False]:
            path = tmp_path / "a.webp"
            images_of(*size)[name].save(path, lossless=lossless, quality=80)
            ours = decoded(tmp_path, path, background="black")
            assert difference(ours, as_pillow(path, (0, 0, 0))) <= (0 if lossless else 2)


def test_real_photos_are_pillows(tmp_path):
    photos = sorted(shared_file("data/vision/dreambooth").glob("*/*.jpg"))
    assert len(photos) >= 11
    for photo in photos:
        assert difference(decoded(tmp_path, photo), as_pillow(photo)) <= 2, photo


def test_content_decides_and_not_the_name(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(24, 9, 3)).save(path, format="JPEG")
    assert difference(decoded(tmp_path, path), as_pillow(path)) <= 2


# ----------------------------------------------------------------------------------- hostile files


def bytes_of(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


FORMATS = {
    "png": {"format": "PNG"},
    "jpeg": {"format": "JPEG"},
    "progressive jpeg": {"format": "JPEG", "progressive": True},
    "lossy webp": {"format": "WEBP"},
    "lossless webp": {"format": "WEBP", "lossless": True},
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_truncated_file_is_an_error(tmp_path, kind, kept):
    data = bytes_of(Image.fromarray(noise(200, 120, 3)), **FORMATS[kind])
    path = tmp_path / "cut"
    path.write_bytes(data[: int(kept * len(data))])
    error_of(path, tmp_path)


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_size_that_no_memory_holds_is_refused_before_it_is_taken(tmp_path):
    data = bytes_of(Image.fromarray(noise(8, 8, 3)), format="PNG")
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1 << 23, 1 << 23, 8, 2, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(data[:8] + header + data[8 + len(header) :])
    error_of(path, tmp_path)
    jpeg = bytearray(bytes_of(Image.fromarray(noise(8, 8, 3)), format="JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    path.write_bytes(jpeg)
    assert "178956970" in error_of(path, tmp_path)


def test_flipped_bit_in_a_png_is_found(tmp_path):
    data = bytearray(bytes_of(Image.fromarray(noise(64, 64, 3)), format="PNG"))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    assert "checksum" in error_of(tmp_path / "a.png", tmp_path)


def test_what_is_no_still_picture_is_refused(tmp_path):
    rgb = Image.fromarray(noise(8, 8, 3))
    frames = {"save_all": True, "append_images": [rgb.rotate(180)]}
    cases = {
        "CMYK": bytes_of(rgb.convert("CMYK"), format="JPEG"),
        "animated": bytes_of(rgb, format="WEBP", **frames),
        "neither PNG, JPEG nor WebP": bytes_of(rgb, format="GIF"),
        "empty": b"",
    }
    for word, data in cases.items():
        (tmp_path / "a.png").write_bytes(data)
        assert word in error_of(tmp_path / "a.png", tmp_path)


# ------------------------------------------------------------------------------ resizing and crops


@pytest.mark.parametrize("size", [(200, 120), (31, 77), (640, 480)])
@pytest.mark.parametrize("target", [(64, 64), (96, 57), (250, 301), (1, 3)])
def test_resizing_is_pillows(tmp_path, size, target):
    image = Image.fromarray(noise(*size, 3))
    image.save(tmp_path / "a.png")
    theirs = np.asarray(image.resize(target[::-1], Image.BILINEAR))
    assert difference(decoded(tmp_path, tmp_path / "a.png", size=target), theirs) <= 1


def captioned(tmp_path, sizes):
    directory = tmp_path / "pictures"
    directory.mkdir()
    lines = []
    for i, (width, height) in enumerate(sizes):
        Image.fromarray(noise(width, height, 3, seed=i)).save(directory / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "text": f"picture {i}"}))
    (directory / "metadata.jsonl").write_text("\n".join(lines))
    return directory


def prepared(tmp_path, directory, **options):
    out = tmp_path / "planes"
    answer = ask({"directory": str(directory), "out": str(out), **options})
    assert "error" not in answer, answer
    values = np.fromfile(out, np.float32)
    for sample in answer["samples"]:
        height, width = sample["target_size"]
        planes, values = np.split(values, [3 * height * width])
        sample["pixels"] = planes.reshape(3, height, width)
    assert values.size == 0
    return answer["samples"]


def as_torchvision(image, resolution):
    """transforms.Resize(resolution, BILINEAR): the shorter side."""
    width, height = image.size
    if width <= height:
        size = (resolution, int(resolution * height / width))
    else:
        size = (int(resolution * width / height), resolution)
    return image if image.size == size else image.resize(size, Image.BILINEAR)


def as_floats(pixels):
    return (np.asarray(pixels).transpose(2, 0, 1).astype(np.float32) / 255 - 0.5) / 0.5


def picture_of(directory, sample):
    return Image.open(directory / sample["file"]).convert("RGB")


CROPPED = [(200, 120), (90, 161), (64, 64), (65, 64), (64, 67), (30, 20)]


def test_centre_crops_are_diffusers(tmp_path):
    directory = captioned(tmp_path, CROPPED)
    samples = prepared(tmp_path, directory, resolution=64, center_crop=True)
    assert [sample["caption"] for sample in samples] == [f"picture {i}" for i in range(6)]
    for sample, (width, height) in zip(samples, CROPPED, strict=True):
        image = as_torchvision(picture_of(directory, sample), 64)
        top = max(0, int(round((image.height - 64) / 2.0)))
        left = max(0, int(round((image.width - 64) / 2.0)))
        assert sample["original_size"] == [height, width]
        assert sample["crop_top_left"] == [top, left]
        assert sample["target_size"] == [64, 64]
        theirs = as_floats(image)[:, top : top + 64, left : left + 64]
        assert np.abs(sample["pixels"] - theirs).max() <= 2.001 / 255


def test_random_crops_and_flips_are_where_the_conditioning_says(tmp_path):
    directory = captioned(tmp_path, CROPPED * 4)
    samples = prepared(tmp_path, directory, resolution=64, random_flip=True)
    flips = []
    for sample in samples:
        image = as_torchvision(picture_of(directory, sample), 64)
        top, left = sample["crop_top_left"]
        errors = []
        for turned in [image, ImageOps.mirror(image)]:  # diffusers flips first
            theirs = as_floats(turned)[:, top : top + 64, left : left + 64]
            errors.append(np.abs(sample["pixels"] - theirs).max())
        assert min(errors) <= 2.001 / 255
        flips.append(errors[1] < errors[0])
    assert 4 <= sum(flips) <= 20
    corners = {tuple(sample["crop_top_left"]) for sample in samples}
    assert len(corners) > 8


def test_buckets_keep_shapes(tmp_path):
    sizes = [(400, 200), (200, 400), (128, 128), (300, 260)]
    directory = captioned(tmp_path, sizes)
    samples = prepared(
        tmp_path, directory, resolution=128, aspect_ratio_buckets=True, center_crop=True
    )
    targets = [tuple(sample["target_size"]) for sample in samples]
    assert targets == [(80, 176), (176, 80), (128, 128), (112, 144)]
    for sample, (height, width) in zip(samples, targets, strict=True):
        image = picture_of(directory, sample)
        scale = max(width / image.width, height / image.height)
        size = (max(width, int(image.width * scale)), max(height, int(image.height * scale)))
        top, left = sample["crop_top_left"]
        theirs = as_floats(image.resize(size, Image.BILINEAR))
        theirs = theirs[:, top : top + height, left : left + width]
        assert np.abs(sample["pixels"] - theirs).max() <= 2.001 / 255
