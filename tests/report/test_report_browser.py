"""The report in headless Chromium: no complaint on the console, every finding there, light and dark."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from example_report import example_gallery, example_proof, example_report
from PIL import Image

from erlangen.report import render_html

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    if found is None:
        pytest.skip("needs chromium, chromium-browser or google-chrome on PATH")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_html(example_report(), example_proof(), example_gallery()), encoding="utf-8")
    return path


def run(browser: str, page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    profile = f"--user-data-dir={page.parent / 'profile'}"
    common = ["--headless", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", profile, *sandbox]
    return subprocess.run([browser, *common, *flags, page.as_uri()], capture_output=True, text=True, timeout=120)


def test_no_console_message_and_every_finding(browser: str, page: Path) -> None:
    done = run(browser, page, "--dump-dom")
    assert done.returncode == 0
    assert "CONSOLE" not in done.stderr
    for record in example_report()["findings"]:
        assert record["metric"] + (f"@{record['layer']}" if record["layer"] else "") in done.stdout


def test_the_console_would_have_told(browser: str, page: Path) -> None:
    broken = page.with_name("broken.html")
    broken.write_text(page.read_text().replace("</main>", "<script>oops()</script></main>"), encoding="utf-8")
    assert "CONSOLE" in run(browser, broken, "--dump-dom").stderr


def test_light_is_light_and_dark_is_dark(browser: str, page: Path) -> None:
    brightness = {}
    for name, scheme in (("dark", 0), ("light", 1)):
        shot = page.with_name(f"{name}.png")
        look = f"--blink-settings=preferredColorScheme={scheme}"
        run(browser, page, look, "--window-size=1200,1600", f"--screenshot={shot}")
        with Image.open(shot) as image:
            pixels = image.convert("L").resize((60, 80))
            histogram = pixels.histogram()
        brightness[name] = sum(i * n for i, n in enumerate(histogram)) / sum(histogram)
        assert sum(n > 0 for n in histogram) > 20
    assert brightness["dark"] < 70 and brightness["light"] > 200
