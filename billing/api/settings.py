"""Settings of the API, from environment variables `RTMETER_API_...`; all problems are reported at once."""

from pathlib import Path
from typing import Self

from pydantic import AnyHttpUrl, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApiSettings(BaseSettings):
    """What an API process must know. Each is described in docs/api-settings.md, which a test holds to this."""

    model_config = SettingsConfigDict(env_prefix="RTMETER_API_", extra="ignore", frozen=True)

    public_url: AnyHttpUrl = Field(description="Where clients reach this API, without /v1: links begin with it.")
    jwks: str = Field(description="The keys of whoever issues tokens: a URL or a file with a JSON Web Key Set.")
    issuer: str = Field(description="The `iss` that a token must have.")
    audience: str = Field(description="The `aud` that a token must have.")
    link_keys: str = Field(
        description="`<key id>:<secret>[,...]`, secrets of 32 characters or more: the first one signs download links, "
        "all are accepted. To rotate, put the new one first, and drop the old one when its last link has expired.",
        repr=False,
    )
    link_seconds: int = Field(900, ge=1, le=86_400, description="How long a download link works, in seconds.")
    requests_per_minute: int = Field(600, ge=1, description="Per org and API process; more are answered with 429.")
    max_running_reports: int = Field(20, ge=1, description="Per partner; more are answered with 429.")
    max_body_bytes: int = Field(65_536, ge=1, description="A larger request body is answered with 413.")
    body_seconds: int = Field(10, ge=1, description="A request body that takes longer is answered with 408.")
    query_seconds: int = Field(30, ge=1, description="A query for an answer that takes longer is given up: 503.")
    query_memory_bytes: int = Field(1 << 30, ge=1 << 20, description="A query for an answer that needs more: 503.")
    max_connections: int = Field(500, ge=1, description="More at a time are answered with 503.")

    @field_validator("link_keys")
    @classmethod
    def _are_keys(cls, text: str) -> str:
        keys = [part.partition(":") for part in text.split(",")]
        if not all(key_id.isalnum() and len(secret) >= 32 for key_id, _, secret in keys):
            raise ValueError("is not <key id>:<secret>[,...] with secrets of 32 characters or more")
        if len({key_id for key_id, _, _ in keys}) < len(keys):
            raise ValueError("has a key id twice")
        return text

    @property
    def base_url(self) -> str:
        """The public URL without a slash at its end."""
        return str(self.public_url).rstrip("/")

    @property
    def signing_keys(self) -> dict[str, bytes]:
        """Secret by key id; the first one signs."""
        return {
            key_id: secret.encode() for key_id, _, secret in (part.partition(":") for part in self.link_keys.split(","))
        }

    @classmethod
    def load(cls, **given: object) -> Self:
        """The settings; ValueError names every variable that is missing or wrong."""
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            problems = [
                f"{cls.model_config['env_prefix']}{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}"
                for one in error.errors()
            ]
            raise ValueError("the settings of the API are not complete: " + "; ".join(problems)) from None


def jwks_file(jwks: str) -> Path | None:
    """The file of a key set; None if it is a URL."""
    return None if jwks.startswith(("http://", "https://")) else Path(jwks.removeprefix("file://"))
