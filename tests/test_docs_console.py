"""docs/console.md: each picture is there and quick to load, and what is quoted is what the pages say."""

import re
import struct
from pathlib import Path

import pytest

from billing.console import words
from billing.console.session import MOST_TOKEN_CHARACTERS

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "console.md").read_text()
PICTURES = re.findall(r"!\[([^\]]+)\]\((pictures/[\w-]+\.png)\)", TEXT)
_MOST_BYTES = 150_000


def test_each_picture_is_shown_once() -> None:
    shown = [name for _, name in PICTURES]
    assert sorted(shown) == sorted(f"pictures/{file.name}" for file in (DOCS / "pictures").glob("console-*"))


@pytest.mark.parametrize(("said", "name"), PICTURES)
def test_a_picture_is_one_and_small(said: str, name: str) -> None:
    content = (DOCS / name).read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    assert len(content) < _MOST_BYTES
    width, _ = struct.unpack(">II", content[16:24])
    assert width >= 360
    assert said


def test_what_is_quoted_is_what_the_pages_say() -> None:
    source = Path(words.__file__).read_text()
    for titles in re.findall(r"^\| ((?:[A-Z][^|]+)) \|", TEXT, re.MULTILINE):
        for title in titles.split(", "):
            assert title == "Log in" or f'"{title}"' in source, title
    assert f"{MOST_TOKEN_CHARACTERS:,} characters" in TEXT
