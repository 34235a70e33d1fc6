"""The report's numbers inside its own HTML: written so that no text can end the element, read back exactly."""

import html.parser
import json
import math
from pathlib import Path
from typing import Any

ELEMENT = "erlangen-report"


def finite(value: Any) -> Any:
    """`value` with NaN and infinities as null, which is what JSON has."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def embed_json(record: Any, name: str) -> str:
    """A script element of type application/json; `<`, `>` and `&` are written as escapes."""
    text = json.dumps(finite(record), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


class _Finder(html.parser.HTMLParser):
    """Collects the text of the one script element that holds the report."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = False
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" and dict(attrs).get("id") == ELEMENT:
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found.append(data)


def read_html(path: str | Path) -> dict[str, Any]:
    """The plain-data report inside a file that `render_html` wrote.

    Raises `ValueError` where the file holds no report, and the usual `OSError` where it cannot be read.
    """
    text = Path(path).read_text(encoding="utf-8")
    finder = _Finder()
    finder.feed(text)
    if not finder.found:
        raise ValueError(f"path: {path} holds no erlangen report; give a file that Report.to_html wrote")
    try:
        record = json.loads("".join(finder.found))
    except json.JSONDecodeError as error:
        raise ValueError(f"path: the report inside {path} is damaged ({error.msg}); write it again") from error
    if not isinstance(record, dict):
        raise ValueError(f"path: the report inside {path} is a {type(record).__name__}, not an object; write it again")
    return record
