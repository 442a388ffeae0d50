"""Usage: what is being held, by whom, and where the month is going."""

from dashboards.choices import PARTNERS, PERIOD, SERVICES
from dashboards.colours import BLUE, GREY, ORANGE
from dashboards.parts import Dashboard, Kind, Panel, Row, Shown, Sql
from dashboards.questions import (
    BEFORE,
    DAY_TIME,
    FIRST,
    IN_PERIOD,
    LAST,
    MONTH_END,
    OF_PARTNERS,
    ORG,
    billed,
    days,
    ranked,
    running,
)
from streams.core.grid import MICRODAYS_PER_DAY

_MONTH_BEFORE = f"day >= {FIRST} - INTERVAL 1 MONTH AND day < {FIRST}"
_ACTIVE = f"sumIf(active, day = {LAST})"

SO_FAR = Panel(
    title="The month so far, and where it goes",
    tells="Quantity of the closed days, in licence-days, and what the month comes to if the licences of the last closed day stay as "
    "they are to its end: nobody joins, nobody leaves. One-time items count once, on the day of the order. It is what PARTNER reports "
    "of the chosen partners hold, internal customers left out.",
    kind=Kind.STAT,
    asks=(
        Sql(
            sql=f"""
SELECT toString({LAST}) AS closed_through, {_ACTIVE} AS active_licences, {days("sum(microdays)")} AS quantity,
       {days(f"sum(microdays) + {_ACTIVE} * dateDiff('day', {LAST}, {MONTH_END}) * {MICRODAYS_PER_DAY}")} AS projected_quantity
FROM ({billed("partner_id, day", IN_PERIOD)})
HAVING count() > 0""",
            columns=("closed_through", "active_licences", "quantity", "projected_quantity"),
        ),
    ),
    unit="locale",
    width=18,
    height=5,
    shown=(
        Shown(name="closed_through", title="Closed through", unit="string", colour=GREY),
        Shown(name="active_licences", title="Active licences at its close"),
        Shown(name="quantity", title="Quantity so far"),
        Shown(name="projected_quantity", title="Projected to the month's end", colour=ORANGE),
    ),
)
BEFORE_IT = Panel(
    title="The month before",
    tells="Quantity of all of the month before, in licence-days: what the projection is compared with.",
    kind=Kind.STAT,
    asks=(
        Sql(
            sql=f"SELECT {days('sum(microdays)')} AS previous_month FROM ({billed('partner_id, day', _MONTH_BEFORE)})\nHAVING count() > 0",
            columns=("previous_month",),
        ),
    ),
    unit="locale",
    base_colour=GREY,
    width=6,
    height=5,
    shown=(Shown(name="previous_month", title="All of it"),),
    nothing="nothing",
)
QUANTITY_BY_DAY = Panel(
    title="Quantity by day and service",
    tells="Licence-days of each closed day, the six largest services by name. A dip on one day is a customer that left, a step up a migration.",
    kind=Kind.BARS,
    asks=(ranked("item", days("sum(microdays)"), billed("partner_id, item, day", IN_PERIOD), DAY_TIME),),
    unit="locale",
    stacked=True,
)
ACTIVE_BY_DAY = Panel(
    title="Active licences by day and service",
    tells="Licences that ran at the close of each day (midnight UTC). What the next day will bill if nothing changes.",
    kind=Kind.BARS,
    asks=(ranked("item", "sum(active)", billed("partner_id, item, day", IN_PERIOD), DAY_TIME),),
    unit="locale",
    stacked=True,
)
QUANTITY_BY_PARTNER = Panel(
    title="Quantity by day and partner",
    tells="The same licence-days by the org that owns the customers: a sub-partner stands for itself, its parent's invoice has both.",
    kind=Kind.BARS,
    asks=(ranked(ORG, days("sum(microdays)"), billed("partner_id, day", IN_PERIOD), DAY_TIME),),
    unit="locale",
    stacked=True,
)
GROWTH = Panel(
    title="Growth: quantity by month and partner",
    tells="Licence-days of the last twelve months up to the chosen one. The last bar is of closed days only: compare it by the projection above.",
    kind=Kind.BARS,
    asks=(
        ranked(
            ORG,
            days("sum(microdays)"),
            billed("partner_id, day", f"day >= {FIRST} - INTERVAL 11 MONTH AND day <= {MONTH_END}"),
            "toDateTime64(toStartOfMonth(day), 0, 'UTC')",
        ),
    ),
    unit="locale",
    stacked=True,
)
BY_PARTNER_AND_SERVICE = Panel(
    title="By partner and service",
    tells="Quantity of the closed days, in licence-days, and active licences at the last of them: what stands on the month's reports.",
    kind=Kind.TABLE,
    asks=(
        Sql(
            sql=f"""
SELECT {ORG} AS partner, item AS service, {days("sum(microdays)")} AS quantity, {_ACTIVE} AS active_licences
FROM ({billed("partner_id, item, day", IN_PERIOD)})
GROUP BY partner_id, partner, service
ORDER BY quantity DESC, partner, service
LIMIT 500""",
            columns=("partner", "service", "quantity", "active_licences"),
        ),
    ),
    unit="locale",
    height=9,
    shown=(
        Shown(name="partner", title="Partner"),
        Shown(name="service", title="Service"),
        Shown(name="quantity", title="Quantity", bar=True, colour=BLUE),
        Shown(name="active_licences", title="Active licences"),
    ),
)
GROWTH_BY_SERVICE = Panel(
    title="Growth by partner and service",
    tells="Licences at the last closed day against the close of the month before: which service of whom grew or shrank.",
    kind=Kind.TABLE,
    asks=(
        Sql(
            sql=f"""
SELECT {ORG} AS partner, item AS service, before, now AS active_licences, now - before AS change
FROM ({running("partner_id, item", BEFORE, LAST, by_item=True)})
WHERE before != 0 OR now != 0
ORDER BY change DESC, partner, service
LIMIT 500""",
            columns=("partner", "service", "before", "active_licences", "change"),
        ),
    ),
    unit="locale",
    height=9,
    shown=(
        Shown(name="partner", title="Partner"),
        Shown(name="service", title="Service"),
        Shown(name="before", title="Month before"),
        Shown(name="active_licences", title="Now"),
        Shown(name="change", title="Growth", bar=True, colour=ORANGE),
    ),
)
MOVERS = Panel(
    title="Movers: customers that grew or shrank most",
    tells="Active licences at the last closed day against the close of the month before. Look here first when a month's total surprises. "
    "All services of it are counted, whichever are chosen. A click on a customer opens its dashboard.",
    kind=Kind.TABLE,
    asks=(
        Sql(
            sql=f"""
SELECT partner, if(name = '', customer_id, name) AS customer, before, active_licences, change,
       hex(partner_id) AS partner_hex, hex(customer_id) AS customer_hex
FROM
(
    SELECT partner_id, customer_id, {ORG} AS partner, before, now AS active_licences, now - before AS change
    FROM ({running("partner_id, customer_id", BEFORE, LAST, by_item=False)})
    WHERE change != 0
    ORDER BY abs(change) DESC, partner, customer_id
    LIMIT 20
) AS moved
LEFT ANY JOIN (SELECT partner_id, customer_id, name FROM customers FINAL WHERE {OF_PARTNERS}) AS customer
USING (partner_id, customer_id)
ORDER BY abs(change) DESC, partner, customer_id""",
            columns=("partner", "customer", "before", "active_licences", "change", "partner_hex", "customer_hex"),
        ),
    ),
    unit="locale",
    width=24,
    height=9,
    shown=(
        Shown(name="partner", title="Partner"),
        Shown(
            name="customer",
            title="Customer",
            link="/d/rtmeter-customer?var-partner=${__data.fields.partner_hex}&var-customer=${__data.fields.customer_hex}",
            link_title="Open this customer",
        ),
        Shown(name="before", title="Month before"),
        Shown(name="active_licences", title="Now"),
        Shown(name="change", title="Change", bar=True, colour=ORANGE),
        Shown(name="partner_hex", hidden=True),
        Shown(name="customer_hex", hidden=True),
    ),
)

USAGE = Dashboard(
    uid="rtmeter-usage",
    title="rtmeter: Usage",
    tells="What is being held and billed: quantity and active licences by partner, service and day, growth, movers, and the month so far with "
    "its projection. From ClickHouse; closed days only, days are UTC.",
    variables=(PERIOD, PARTNERS, SERVICES),
    rows=(
        Row("The month", (SO_FAR, BEFORE_IT)),
        Row("Day by day", (QUANTITY_BY_DAY, ACTIVE_BY_DAY, QUANTITY_BY_PARTNER, GROWTH)),
        Row("Who moved", (BY_PARTNER_AND_SERVICE, GROWTH_BY_SERVICE, MOVERS)),
    ),
    refresh="15m",
)
