"""A page: a template filled in, every value escaped, and headers that let a browser do nothing else with it."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from billing.api.scopes import Scope
from billing.audit.words import instant
from billing.console.session import Visit
from billing.console.static_files import STATIC_FILES
from billing.report import quantity_text
from schemas.instants import day_text

#: No script but our own file, no frame, nothing from elsewhere, and forms go nowhere else.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-robots-tag": "noindex",
}


def page(home: str, template: str, visit: Visit | None, status: int = 200, **shown: Any) -> HTMLResponse:
    """The page of a template. `home`: the console's path; `visit`: who looks, None where nobody is logged in."""
    text = _environment().get_template(template).render(home=home, visit=visit, Scope=Scope, **shown)
    return HTMLResponse(text, status, HEADERS)


def coded(sentence: str) -> Markup:
    """A sentence in which names stand between backticks, as the explanations have it."""
    parts = [escape(part) for part in sentence.split("`")]
    if len(parts) % 2 == 0:  # a backtick that belongs to a name: no telling which
        return escape(sentence)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def minute(time_ms: int) -> str:
    """An instant to the minute, in UTC."""
    return f"{instant(time_ms)[:16]} UTC"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("billing.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "coded": coded,
        "day": day_text,
        "minute": minute,
        "quantity": quantity_text,
        "instant": instant,
    }
    environment.globals["static"] = {name: file.address for name, file in STATIC_FILES.items()}
    return environment
