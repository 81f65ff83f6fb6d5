"""PNG files and TensorBoard event files, as Pillow and TensorBoard read them; tests/io/draw_samples.cpp writes them."""

import subprocess

import numpy as np
import pytest
from conftest import BUILD_DIR, TIMEOUT
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as PluginEventAccumulator,
)
from tensorboard.util.tensor_util import make_ndarray

BLUE, ORANGE, DARKEST = (0, 114, 178), (230, 120, 0), (16, 32, 80)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    directory = tmp_path_factory.mktemp("samples")
    subprocess.run([BUILD_DIR / "bin" / "draw_samples", directory], check=True, timeout=TIMEOUT)
    return directory


def pixels_of(path):
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        image.verify()  # the checksums
    with Image.open(path) as image:
        return np.asarray(image)  # (height, width, 3)


# ---------------------------------------------------------------------------------------- pictures


def columns_and_rows(pixels, colour):
    rows, columns = np.nonzero((pixels == colour).all(axis=-1))
    return columns, rows


def test_chart_has_both_lines_where_their_values_are(samples):
    pixels = pixels_of(samples / "chart.png")
    assert pixels.shape == (560, 900, 3)
    plot = pixels[75:]  # below title and legend
    columns, rows = columns_and_rows(plot, ORANGE)
    left, right, four = columns.min(), columns.max(), np.median(rows)
    assert right - left > 700 and np.ptp(rows) <= 2, "a level line"
    columns, rows = columns_and_rows(plot, BLUE)
    zero = rows.max()
    expected = {0.125: 3.0, 0.875: 0.5}  # share of the width: value
    for share, value in expected.items():
        here = np.abs(columns - (left + share * (right - left))) <= 1
        assert np.abs(rows[here] - (zero + value / 4 * (four - zero))).max() <= 5
    assert not np.any(np.abs(columns - (left + right) / 2) < 0.2 * (right - left)), "the gap"


def test_chart_has_text_at_each_of_its_places(samples):
    pixels = pixels_of(samples / "chart.png")
    ink = (pixels == (40, 40, 48)).all(axis=-1)
    places = {
        "title": ink[:40, 50:400],
        "names in the legend": ink[45:70],
        "numbers at the left": ink[75:500, 34:80],
        "numbers below": ink[505:530],
        "x label": ink[530:, 300:600],
        "y label": ink[75:500, :34],
    }
    for place, region in places.items():
        assert region.sum() > 40, place
    assert places["y label"].any(axis=1).sum() > places["y label"].any(axis=0).sum(), "runs upwards"
    for colour in (BLUE, ORANGE):
        assert (pixels[45:70] == colour).all(axis=-1).sum() == 28 * 4, "its piece of line"


def test_small_mask_is_enlarged(samples):
    pixels = pixels_of(samples / "small.png")
    expected = np.full((2, 4, 3), 255)
    expected[0, 0] = expected[1, 3] = DARKEST
    assert np.array_equal(pixels[1:-1, 1:-1], expected.repeat(64, axis=0).repeat(64, axis=1))


def test_large_mask_is_drawn_in_blocks(samples):
    pixels = pixels_of(samples / "large.png")
    assert pixels.shape == (514, 1026, 3)
    expected = np.full((512, 1024, 3), 255)
    expected[0, 0] = expected[-1, -1] = DARKEST
    assert np.array_equal(pixels[1:-1, 1:-1], expected)


# ------------------------------------------------------------------------------------------ events


def read_events(path):
    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def test_restart_purges_what_the_killed_run_had_logged(samples):
    points = read_events(samples / "events").Scalars("loss")
    assert [point.step for point in points] == [1, 2, 3, 10**12]
    expected = [np.float32(0.1), np.float32(0.2), -1.5, np.inf]
    assert [point.value for point in points] == expected
    assert [point.wall_time for point in points] == [1e9 + 1, 1e9 + 2, 2e9, 2e9]


def test_restart_is_seen_by_the_reader_behind_the_web_page_too(samples):
    """Which ignores the first restart of a run."""
    events = PluginEventAccumulator(str(samples / "events"))
    events.Reload()
    assert [point.step for point in events.Tensors("loss")] == [1, 2, 3, 10**12]


def test_killed_run_alone_has_all_its_points(samples):
    first, second = sorted((samples / "events").iterdir())
    assert [point.step for point in read_events(first).Scalars("loss")] == [1, 2, 3, 4]
    assert [point.step for point in read_events(second).Scalars("loss")] == [3, 10**12]


def test_text_is_for_the_text_tab(samples):
    events = read_events(samples / "events")
    assert events.SummaryMetadata("config").plugin_data.plugin_name == "text"
    (point,) = events.Tensors("config")
    assert make_ndarray(point.tensor_proto).tolist() == ["seed: **1** é".encode()]


def test_torn_last_record_loses_only_itself(samples, tmp_path):
    """As a full disk or a killed machine leaves it."""
    whole = min((samples / "events").iterdir()).read_bytes()
    (tmp_path / "events.out.tfevents.1.host.1").write_bytes(whole[:-3])
    assert [point.step for point in read_events(tmp_path).Scalars("loss")] == [1, 2, 3]
