"""The contract as a Postman collection, filled in so that it can run: create, list, get, delete, sub-partners.

The conversion knows no values and no order; the requests themselves, their paths, headers, bodies and the way of
authentication are what openapi-to-postmanv2 makes of the contract.
"""

import json
from collections.abc import Iterator
from typing import Any

_ORDER = ("Create a", "List Wholesale Billing", "Get a", "Delete a", "List Wholesale Sub")
_TESTS = {
    "Create a": ("200", "pm.collectionVariables.set('reportId', pm.response.json().id)"),
    "List Wholesale Billing": (
        "200",
        "pm.expect(pm.response.json().items.map(i => i.id)).to.include(pm.collectionVariables.get('reportId'))",
    ),
    "Get a": ("200", "pm.expect(pm.response.json().id).to.eql(pm.collectionVariables.get('reportId'))"),
    "Delete a": ("204", "pm.expect(pm.response.text()).to.eql('')"),
    "List Wholesale Sub": (
        "200",
        "pm.expect(pm.response.json().items.map(i => i.provisioningState)).to.eql(['active', 'suspended'])",
    ),
}


def runnable(converted: str) -> str:
    """A converted collection with values, tests, and an order that makes sense."""
    collection = json.loads(converted)
    found = list(_requests(collection["item"]))
    ordered = []
    for start in _ORDER:
        (item,) = [item for item in found if item["name"].startswith(start)]
        status, expectation = _TESTS[start]
        script = f"pm.test('{start}', () => {{ pm.response.to.have.status({status}); {expectation}; }});"
        item["event"] = [{"listen": "test", "script": {"type": "text/javascript", "exec": [script]}}]
        for parameter in item["request"]["url"].get("query", []):
            parameter["disabled"] = True  # filters, with made-up values
        for variable in item["request"]["url"].get("variable", []):
            variable["value"] = "{{reportId}}"
        body = item["request"].get("body", {})
        if body.get("raw"):
            members = json.loads(body["raw"])
            assert members.keys() == {"billingStartDate", "billingEndDate", "type", "subPartnerOrgId", "internal"}
            filled = {
                "billingStartDate": "2026-10-01",
                "billingEndDate": "2026-10-31",
                "type": "USER",
                "internal": False,
            }
            body["raw"] = json.dumps(filled)
        ordered.append(item)
    assert len(ordered) == len(found), "the contract has an operation that is not tried"
    collection["item"] = ordered
    return json.dumps(collection)


def _requests(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        if "request" in item:
            yield item
        yield from _requests(item.get("item", []))
