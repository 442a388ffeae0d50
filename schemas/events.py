"""The event types of the contract as typed structs: one class per type, decoded in one pass.

Unknown members are ignored; a null optional member is as absent, `locationId` aside, where null means
"at no location". What a type cannot say here (calendar, exactly-one-of, control characters) is checked in
`schemas.decode`.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Source = Annotated[str, Meta(min_length=1, max_length=256)]
#: A package or add-on name: its pattern is checked when it is normalised to upper case.
ItemName = Annotated[str, Meta(min_length=1, max_length=64)]
#: Text that is not looked at. Far longer than any use of it, and short enough that the facts of a subscriber, each of
#: which keeps its own, fit a record of the state.
FreeText = Annotated[str, Meta(max_length=1024)]
Seats = Annotated[int, Meta(ge=1, le=1_000_000)]
Location = Id | None | UnsetType


class Envelope(Struct, gc=False, kw_only=True, tag_field="type", rename="camel"):
    """CloudEvents 1.0, structured JSON. `time` is the instant from which the fact holds."""

    specversion: Literal["1.0"]
    id: Id
    source: Source
    time: str
    sequence: FreeText | None = None
    datacontenttype: Literal["application/json"] | None = None


class AccountData(Struct, gc=False, rename="camel"):
    """Whose usage it is: the org that owns the customer, and the customer (rule 7)."""

    partner_org_id: Id
    customer_org_id: Id


class CustomerProvisionedData(AccountData):
    external_id: Id
    subscription_id: Id | None = None
    name: FreeText | None = None
    internal: bool | None = None


class CustomerUpdatedData(AccountData):
    external_id: Id | None = None
    subscription_id: Id | None = None
    name: FreeText | None = None
    internal: bool | None = None


class AssignmentData(AccountData):
    subscriber_id: Id
    package: ItemName
    user_id: Id | None = None
    workspace_id: Id | None = None
    location_id: Location = UNSET


class PackageRemovedData(AccountData):
    subscriber_id: Id
    package: ItemName | None = None


class AddonAssignedData(AccountData):
    subscriber_id: Id
    addon: ItemName
    user_id: Id | None = None
    workspace_id: Id | None = None
    location_id: Location = UNSET


class AddonRemovedData(AccountData):
    subscriber_id: Id
    addon: ItemName


class SubscriberRemovedData(AccountData):
    subscriber_id: Id


class SubscriberMovedData(AccountData):
    subscriber_id: Id
    location_id: Id | None


class SetupAssistOrderedData(AccountData):
    order_id: Id
    location_id: Id
    seats: Seats


class SetupAssistCancelledData(AccountData):
    order_id: Id


class VoidedIdentity(Struct, gc=False):
    source: Source
    id: Id


class EventVoidedData(AccountData):
    voids: VoidedIdentity
    subscriber_id: Id | None = None


class DayClosedData(Struct, gc=False):
    day: str


class CustomerProvisioned(Envelope, tag="wholesale.customer.provisioned.v1"):
    data: CustomerProvisionedData


class CustomerUpdated(Envelope, tag="wholesale.customer.updated.v1"):
    data: CustomerUpdatedData


class CustomerDeprovisioned(Envelope, tag="wholesale.customer.deprovisioned.v1"):
    data: AccountData


class PackageAssigned(Envelope, tag="wholesale.package.assigned.v1"):
    data: AssignmentData


class PackageChanged(Envelope, tag="wholesale.package.changed.v1"):
    data: AssignmentData


class PackageRemoved(Envelope, tag="wholesale.package.removed.v1"):
    data: PackageRemovedData


class AddonAssigned(Envelope, tag="wholesale.addon.assigned.v1"):
    data: AddonAssignedData


class AddonRemoved(Envelope, tag="wholesale.addon.removed.v1"):
    data: AddonRemovedData


class SubscriberRemoved(Envelope, tag="wholesale.subscriber.removed.v1"):
    data: SubscriberRemovedData


class SubscriberMoved(Envelope, tag="wholesale.subscriber.moved.v1"):
    data: SubscriberMovedData


class SetupAssistOrdered(Envelope, tag="wholesale.setup-assist.ordered.v1"):
    data: SetupAssistOrderedData


class SetupAssistCancelled(Envelope, tag="wholesale.setup-assist.cancelled.v1"):
    data: SetupAssistCancelledData


class EventVoided(Envelope, tag="wholesale.event.voided.v1"):
    data: EventVoidedData


class DayClosed(Envelope, tag="rtmeter.day.closed.v1"):
    data: DayClosedData


AssignmentEvent = (
    CustomerProvisioned
    | CustomerUpdated
    | CustomerDeprovisioned
    | PackageAssigned
    | PackageChanged
    | PackageRemoved
    | AddonAssigned
    | AddonRemoved
    | SubscriberRemoved
    | SubscriberMoved
    | SetupAssistOrdered
    | SetupAssistCancelled
    | EventVoided
    | DayClosed
)


class PartnerData(Struct, gc=False, rename="camel"):
    partner_org_id: Id
    name: FreeText
    provisioning_state: Literal["active", "suspended"]
    parent_org_id: Id | None = None
    subscription_id: Id | None = None
    billing_start_date: str | None = None


class ServiceEntry(Struct, frozen=True, rename="camel"):
    """One line of the purchase order. `unit_price` is a decimal as text, per unit and month (or per item, one-time)."""

    service: Annotated[str, Meta(min_length=1, max_length=64)]
    sku: FreeText
    description: FreeText
    kind: Literal["package", "addon", "one-time"]
    unit_price: str


class SubscriptionData(Struct, rename="camel"):
    subscription_id: Id
    partner_org_id: Id
    currency: Annotated[str, Meta(min_length=3, max_length=3)]
    services: list[ServiceEntry]


class PartnerUpserted(Envelope, tag="wholesale.partner.upserted.v1"):
    data: PartnerData


class SubscriptionUpserted(Envelope, tag="wholesale.subscription.upserted.v1"):
    data: SubscriptionData


CatalogEvent = PartnerUpserted | SubscriptionUpserted
