"""List the caller's sub-partners: the public contract."""

from enum import StrEnum
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from billing.api import parameters
from billing.api.directory import SubPartner
from billing.api.reports import next_link
from billing.api.scopes import Scope
from billing.api.services import services_of
from billing.ids import ORGANIZATION, public_id
from schemas.instants import time_text

router = APIRouter(include_in_schema=False)
PATH = "/wholesale/subPartners"
_MOST = 1_000_000


class ProvisioningState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


@router.get(PATH)
def list_sub_partners(request: Request) -> Response:
    """A page of the caller's sub-partners, by id; none for a sub-partner (rule 20)."""
    services = services_of(request)
    caller = services.caller(request, Scope.SUB_PARTNERS_READ)
    state = parameters.word(parameters.once(request, "provisioningState"), "provisioningState", ProvisioningState)
    offset = parameters.number(parameters.once(request, "offset"), "offset", 0, _MOST, 0)
    limit = parameters.number(
        parameters.once(request, "max"), "max", 1, parameters.MAX_PER_PAGE, parameters.MAX_PER_PAGE
    )
    found = [
        child
        for child in services.directory.sub_partners_of(caller.org_id)
        if state is None or child.partner.provisioning_state == state
    ]
    items = [_shown(child) for child in found[offset : offset + limit]]
    # The contract's schema says `items`, its example `subPartners`: scripts were written after either.
    response = JSONResponse({"items": items, "subPartners": items})
    if offset + limit < len(found):
        response.headers["link"] = next_link(services, request, {"offset": str(offset + limit)})
    return response


def _shown(child: SubPartner) -> dict[str, Any]:
    partner = child.partner
    shown = {
        "orgId": public_id(ORGANIZATION, partner.partner_org_id),
        "provisioningState": partner.provisioning_state,
        "created": time_text(child.created_ms),
    }
    if child.subscription_id is not None:
        shown["subscriptionId"] = child.subscription_id
    if partner.billing_start_date is not None:
        shown["billingStartDate"] = f"{partner.billing_start_date}T00:00:00.000Z"
    return shown
