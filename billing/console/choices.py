"""What a clerk can choose from: its sub-partners, if its token lets it list them."""

from msgspec import Struct

from billing.api.scopes import Scope
from billing.api.services import Services
from billing.api.tokens import Caller
from billing.console.session import Visit


class Choice(Struct, frozen=True):
    """A sub-partner to choose."""

    org_id: str
    name: str


def sub_partners_of(services: Services, visit: Visit) -> list[Choice] | None:
    """The caller's sub-partners; None if its token does not allow to list them: then it must know their ids."""
    if not visit.may(Scope.SUB_PARTNERS_READ):
        return None
    return [Choice(org_id, name) for org_id, name in sub_partner_names(services, visit.caller).items()]


def sub_partner_names(services: Services, caller: Caller) -> dict[str, str]:
    """Their names by id: they stand in the caller's reports too (rule 24)."""
    return {
        child.partner.partner_org_id: child.partner.name for child in services.directory.sub_partners_of(caller.org_id)
    }
