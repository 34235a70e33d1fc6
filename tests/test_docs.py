"""The pages that say so run as written."""

import re
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["audit", "mathematics", "objectives", "search", "symmetric"])
def test_every_block_of_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / f"{page}.md").read_text("utf-8")
    assert "runs as a test" in text
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    namespace: dict[str, object] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for number, block in enumerate(blocks):
            exec(compile(block, f"{page}.md, block {number + 1}", "exec"), namespace)


def test_the_pages_of_the_site_exist() -> None:
    listed = re.findall(r": (\w+\.md)", (DOCS.parent / "mkdocs.yml").read_text("utf-8"))
    assert listed and all((DOCS / name).is_file() for name in listed)
