"""Download links: good for one report, for a while, and for nobody who changed a byte of them."""

import base64
import gzip
import hashlib
import logging
import random
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.billing.api.world import KEYS, PUBLIC_URL, REPORTS, World, error_of
from tests.month import MONTH

EXPECTED = (MONTH / "expected" / "CUSTOMER-P-alpha.csv").read_bytes()
MUTATIONS = 10_000


@pytest.fixture
def link(world: World) -> str:
    return str(world.completed()["tempDownloadURL"])


def test_a_link_needs_no_token_and_protects_what_it_gives(world: World, link: str) -> None:
    answer = world.client.get(link, headers={"Accept-Encoding": "identity"})
    assert answer.status_code == 200
    assert answer.content == EXPECTED
    headers = answer.headers
    assert headers["content-type"] == "text/csv; charset=utf-8"
    assert headers["content-disposition"] == 'attachment; filename="CUSTOMER_2026-10-01_2026-10-31.csv"'
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["rtmeter-sha256"] == hashlib.sha256(EXPECTED).hexdigest()
    assert headers["repr-digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(EXPECTED).digest()).decode()}:"
    assert headers["content-length"] == str(len(EXPECTED))
    head = world.client.head(link, headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(EXPECTED))


def test_each_get_mints_a_link_of_its_own_lifetime(world: World, link: str) -> None:
    report_id = urlsplit(link).path.split("/")[-1].removesuffix(".csv")
    world.now_ms += 600_000
    later = world.ask("GET", f"{REPORTS}/{report_id}").json()["tempDownloadURL"]
    assert later != link
    world.now_ms += 299_000
    assert world.client.get(link).status_code == 200
    world.now_ms += 1_000
    error_of(world.client.get(link), 404, 2018)
    assert world.client.get(later).status_code == 200


def test_a_link_is_dead_at_once_after_delete(world: World, link: str) -> None:
    report_id = urlsplit(link).path.split("/")[-1].removesuffix(".csv")
    # Another API process may delete it: nothing is remembered here.
    assert world.register.delete(report_id, ["P-alpha"]) is not None
    error_of(world.client.get(link), 404, 2018)
    again = world.completed()
    assert world.client.get(again["tempDownloadURL"]).status_code == 200
    error_of(world.client.get(link), 404, 2018)


def test_no_changed_link_is_accepted(world: World, link: str) -> None:
    other = str(world.completed("P-beta")["tempDownloadURL"])
    dice = random.Random(4)
    good = {_meaning(link), _meaning(other)}
    tried = 0
    while tried < MUTATIONS:
        changed = _changed(link, other, dice)
        try:
            if _meaning(changed) in good:
                continue
            answer = world.client.get(changed)
        except ValueError:  # not even an address
            continue
        assert answer.status_code in (400, 404), f"{changed} gave {answer.status_code}"
        assert EXPECTED[:40] not in answer.content
        tried += 1


def _meaning(link: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    parts = urlsplit(link)
    return parts.path, tuple(sorted(parse_qsl(parts.query, keep_blank_values=True)))


def _changed(link: str, other: str, dice: random.Random) -> str:
    """A link with something changed: a character, a parameter, or a part of another good link."""
    path, query = link.removeprefix(PUBLIC_URL).split("?", 1)
    other_path, other_query = other.removeprefix(PUBLIC_URL).split("?", 1)
    pairs, other_pairs = parse_qsl(query), parse_qsl(other_query)
    kind = dice.randrange(7)
    if kind == 0:
        place = dice.randrange(len(query))
        query = query[:place] + dice.choice("ABCabc019-_=.&%") + query[place + 1 :]
    elif kind == 1:
        place = dice.randrange(4, len(path))
        path = path[:place] + dice.choice("ABCabc019-_=.") + path[place + 1 :]
    elif kind == 2:
        place = dice.randrange(len(query))
        query = query[:place] + query[place + dice.randint(1, 5) :]
    elif kind == 3:
        place = dice.randrange(4)
        pairs[place] = other_pairs[place] if dice.random() < 0.5 else (pairs[place][0], dice.choice(["", "0", "9" * 400, "-1", "1e9", "４", "\ud7ff", "first", "../x"]))  # fmt: skip
        query = urlencode(pairs)
    elif kind == 4:
        query = urlencode([*pairs, dice.choice([*pairs, *other_pairs, ("x", "1")])])
    elif kind == 5:
        query = urlencode([pair for pair in pairs if dice.random() < 0.7])
    else:
        path = dice.choice([other_path, path.removesuffix(".csv"), path + "/", path.replace("downloads", "Downloads"), path.upper(), path + "%2e"])  # fmt: skip
    return f"{path}?{query}"


def test_two_keys_at_a_time_for_rotation(world: World, tmp_path: Path, month_folder: Path, link: str) -> None:
    folder = tmp_path
    second = "second:fedcba9876543210fedcba9876543210"

    def with_keys(keys: str) -> World:
        other = World(folder, month_folder, link_keys=keys)
        other.now_ms = world.now_ms
        return other

    both = with_keys(f"{second},{KEYS}")
    assert both.client.get(link).status_code == 200, "the old key's links go on working"
    report_id = urlsplit(link).path.split("/")[-1].removesuffix(".csv")
    newer = both.ask("GET", f"{REPORTS}/{report_id}").json()["tempDownloadURL"]
    assert "keyId=second" in newer
    only_new = with_keys(second)
    assert only_new.client.get(newer).status_code == 200
    error_of(only_new.client.get(link), 404, 2018)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=10-", 10, None),
        ("bytes=-5", -5, None),
        ("bytes=0-999999", 0, None),
        ("bytes=-999999", 0, None),
    ],
)
def test_ranges(world: World, link: str, asked: str, first: int, last: int | None) -> None:
    answer = world.client.get(link, headers={"Range": asked})
    wanted = EXPECTED[first:] if last is None else EXPECTED[first : last + 1]
    assert answer.status_code == 206
    assert answer.content == wanted
    start = first if first >= 0 else len(EXPECTED) + first
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(EXPECTED)}"


@pytest.mark.parametrize("asked", ["bytes=999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_416(world: World, link: str, asked: str) -> None:
    answer = world.client.get(link, headers={"Range": asked})
    error_of(answer, 416, 2019)
    assert answer.headers["content-range"] == f"bytes */{len(EXPECTED)}"


@pytest.mark.parametrize("asked", ["items=0-1", "bytes=a-b", "bytes=0-1,3-4", "bytes=9-1", "bytes=-"])
def test_a_range_of_another_form_is_passed_over(world: World, link: str, asked: str) -> None:
    answer = world.client.get(link, headers={"Range": asked, "Accept-Encoding": "identity"})
    assert answer.status_code == 200
    assert answer.content == EXPECTED


def test_a_download_is_taken_up_again_only_if_the_file_is_the_same(world: World, link: str) -> None:
    tag = world.client.head(link, headers={"Accept-Encoding": "identity"}).headers["etag"]
    assert world.client.get(link, headers={"Range": "bytes=5-", "If-Range": tag}).content == EXPECTED[5:]
    assert world.client.get(link, headers={"Range": "bytes=5-", "If-Range": '"another"'}).content == EXPECTED


def test_gzip(world: World, link: str) -> None:
    with world.client.stream("GET", link, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "accept-encoding"
        assert gzip.decompress(b"".join(answer.iter_raw())) == EXPECTED
    for refused in ("identity", "gzip;q=0", "br"):
        plain = world.client.get(link, headers={"Accept-Encoding": refused})
        assert "content-encoding" not in plain.headers
        assert plain.content == EXPECTED


def test_links_and_tokens_are_never_written_to_logs(world: World, link: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world.client.get(link)
    world.client.get(link + "x")
    world.ask("GET", REPORTS)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("rtmeter")]
    assert any("/v1/downloads/" in line for line in lines), "the request itself is logged"
    signature = dict(parse_qsl(urlsplit(link).query))["signature"]
    for line in lines:
        assert signature not in line
        assert "signature" not in line
        assert not re.search(r"eyJ[\w-]+\.", line)
