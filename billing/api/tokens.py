"""Who asks: bearer tokens (JWT), judged by signature, issuer, audience and time, and what they allow."""

import json
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from msgspec import Struct

from billing.api.errors import ApiError, ErrorCode
from billing.api.scopes import Scope
from billing.api.settings import jwks_file
from billing.ids import ORGANIZATION, PERSON, own_id

# Only asymmetric ones: with a symmetric one, who can check tokens could make them.
_ALGORITHMS = ["EdDSA", "ES256", "ES384", "RS256", "RS384", "RS512", "PS256"]
_LEEWAY_SECONDS = 30
_LEAST_SECONDS_BETWEEN_LOOKS = 30.0
LOCAL_ISSUER = "rtmeter-local"
LOCAL_AUDIENCE = "rtmeter"
_KEY, _KEY_SET = "token-key.pem", "jwks.json"


class Caller(Struct, frozen=True):
    """Who asks: a person of an org, with what its token allows, and until when (seconds since the epoch)."""

    org_id: str
    person_id: str
    scopes: frozenset[str]
    expires_s: int

    def need(self, scope: Scope) -> None:
        """ApiError 403 if the token does not allow it."""
        if scope not in self.scopes:
            raise ApiError(403, ErrorCode.NOT_ALLOWED, f"The token lacks the scope {scope}.")


class TokenJudge:
    """Tells a token's caller. Keys come from a URL or a file, and are looked up again when an unknown one is named."""

    def __init__(self, jwks: str, issuer: str, audience: str) -> None:
        self._jwks = jwks
        self._issuer = issuer
        self._audience = audience
        self._lock = threading.Lock()
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._looked = -_LEAST_SECONDS_BETWEEN_LOOKS

    def caller(self, authorization: str | None) -> Caller:
        """The caller of an `Authorization` header; ApiError 401 if its token is not good."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _not_authenticated("A bearer token is needed.")
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub", "org"]},
            )
        except (jwt.PyJWTError, ValueError):
            # Why is in the token's owner's hands to find out; who guesses need not know.
            raise _not_authenticated("The token is not valid.") from None
        return _caller(claims)

    def _key(self, key_id: str | None) -> jwt.PyJWK:
        with self._lock:
            key = self._keys.get(key_id)
            now = time.monotonic()
            if key is None and now - self._looked >= _LEAST_SECONDS_BETWEEN_LOOKS:
                self._looked = now
                self._keys = {key.key_id: key for key in self._read().keys}
                key = self._keys.get(key_id)
        if key is None:
            raise jwt.InvalidKeyError("unknown key")
        return key

    def _read(self) -> jwt.PyJWKSet:
        file = jwks_file(self._jwks)
        if file is None:
            return jwt.PyJWKClient(self._jwks, cache_keys=False, timeout=5).get_jwk_set()
        return jwt.PyJWKSet.from_json(file.read_text())


def make_local_key(folder: Path) -> Path:
    """A key pair of this machine, made once: the file of its public half, for the setting `jwks`."""
    private, public = folder / _KEY, folder / _KEY_SET
    if not public.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = Ed25519PrivateKey.generate()
        described = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
        private.touch(mode=0o600)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_text(json.dumps({"keys": [{**described, "kid": "local", "alg": "EdDSA", "use": "sig"}]}))
    return public


def mint_token(folder: Path, org_id: str, person_id: str, scopes: Collection[str], seconds: int) -> str:
    """A token of the local key of a folder, good for so many seconds."""
    make_local_key(folder)
    now = int(time.time())
    claims = {
        "iss": LOCAL_ISSUER,
        "aud": LOCAL_AUDIENCE,
        "sub": person_id,
        "org": org_id,
        "scope": " ".join(scopes),
        "iat": now,
        "exp": now + seconds,
    }
    key: Any = load_pem_private_key((folder / _KEY).read_bytes(), None)
    return jwt.encode(claims, key, "EdDSA", {"kid": "local"})


def _caller(claims: dict[str, Any]) -> Caller:
    org, person, scopes = claims["org"], claims["sub"], claims.get("scope", "")
    if isinstance(scopes, str):
        scopes = scopes.split()
    if not (isinstance(org, str) and org and isinstance(person, str) and isinstance(scopes, list)):
        raise _not_authenticated("The token is not valid.")
    return Caller(own_id(ORGANIZATION, org), own_id(PERSON, person), frozenset(map(str, scopes)), int(claims["exp"]))


def _not_authenticated(description: str) -> ApiError:
    return ApiError(401, ErrorCode.NOT_AUTHENTICATED, description, {"WWW-Authenticate": "Bearer"})
