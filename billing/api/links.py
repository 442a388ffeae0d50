"""Download links: signed, short-lived, and good for one report of one org.

The signature covers method, path, report, org, expiry and key id, so none of them can be changed. Whether the report
is still there is asked of the register at each use: a link is dead as soon as its report is deleted (rule 29).
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

from msgspec import Struct


class Link(Struct, frozen=True):
    """A link as it comes in: path and query, unchecked."""

    path: str
    report_id: str
    org_id: str
    expires: str
    key_id: str
    signature: str


class LinkSigner:
    """Signs with the first key, accepts all."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys`: secret by key id."""
        self._keys = dict(keys)
        self._newest = next(iter(self._keys))

    def sign(self, path: str, report_id: str, org_id: str, expires_s: int) -> str:
        """Path and query of a link that works until then (seconds since the epoch)."""
        link = Link(path, report_id, org_id, str(expires_s), self._newest, "")
        query = {
            "org": org_id,
            "expires": link.expires,
            "keyId": link.key_id,
            "signature": _signature(self._keys[self._newest], link),
        }
        return f"{path}?{urlencode(query)}"

    def is_good(self, link: Link, now_s: int) -> bool:
        """Whether we signed it and it has not expired."""
        secret = self._keys.get(link.key_id)
        # An unknown key takes as long as a known one.
        expected = _signature(secret or b"-" * 32, link)
        signed = hmac.compare_digest(expected.encode(), link.signature.encode(errors="replace"))
        in_time = link.expires.isascii() and link.expires.isdigit() and int(link.expires[:12]) > now_s
        return signed and in_time and secret is not None


def _signature(secret: bytes, link: Link) -> str:
    # Each part with its length, so that no two different links have the same text.
    parts = ("GET", link.path, link.report_id, link.org_id, link.expires, link.key_id)
    encoded = [part.encode(errors="surrogatepass") for part in parts]
    text = b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
    return base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).rstrip(b"=").decode()
