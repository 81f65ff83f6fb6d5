"""The embedded diffusion base draws what its prompts say, and scripts/demo_pictures.py teaches it more."""

import pytest
from conftest import SOURCE_DIR, run_script

pytest.importorskip("numpy")
pytest.importorskip("PIL")
from draw_pictures import Artist, prompts_of  # noqa: E402
from shape_pictures import SHAPES  # noqa: E402

DEMO = SOURCE_DIR / "scripts" / "demo_pictures.py"


def test_a_prompt_decides_the_picture(tmp_path):
    prompts = prompts_of(SHAPES, 24)
    artist = Artist(SOURCE_DIR / "assets" / "tiny-sd", tmp_path)
    shares = artist.shares(artist.draw("base", prompts), prompts, "flat")
    assert shares["color"] >= 0.9 and shares["background"] >= 0.9 and shares["style"] >= 0.9
    assert shares["position"] >= 0.9 and shares["shape"] >= 0.8
    others = prompts[1:] + prompts[:1]
    assert artist.shares(artist.draw("base", prompts), others, "flat")["all"] <= 0.2


def test_the_demo_writes_a_sheet_and_scores(tmp_path):
    from PIL import Image

    flags = ["--out", tmp_path, "--prompts", 3, "--steps", 3]
    output = run_script(DEMO, *flags).stdout
    columns = ["base", "neon 0.25", "neon 0.5", "neon 0.75", "neon 1", "neon 1.25", "house", "neon + house"]
    sheet = Image.open(tmp_path / "neon.png")
    assert sheet.size == (132 * len(columns) - 4, 14 + 132 * 6 - 4)
    for line in ("shapes, base", "shapes in neon, adapter", "house, adapter", "house in neon, both fused"):
        assert f"\n{line} " in output
    assert "neon-adapter is there already" in run_script(DEMO, *flags).stdout
