"""The parts of SQL that several panels share.

A quantity is an integer of microdays; as a number it is shown in days, by an exact division. Ids may hold any character,
quotes and backslashes too, and Grafana's quoting does not think of the latter: so partners and customers are chosen by the
hexadecimal form of their ids. Services and periods are plain by their making.

What is counted is what reports hold: no internal customers, and nothing of before a sub-partner's billing start (rule 23).
"""

from dashboards.parts import Sql
from streams.core.grid import MICRODAYS_PER_DAY

#: Of each org the latest version of its entry in the catalog.
ORGS = """
    SELECT substring(entry, 9) AS org_id, JSONExtractString(latest, 'name') AS org_name,
           JSONExtractString(latest, 'parentOrgId') AS parent_id,
           if(parent_id = '', toDate32('1970-01-01'),
              ifNull(toDate32OrNull(JSONExtractString(latest, 'billingStartDate')), toDate32('1970-01-01'))) AS billed_from
    FROM
    (
        SELECT entry, argMax(data, (time_ms, ifNull(concat('1', sequence), '0'), source, id)) AS latest
        FROM catalog_versions WHERE startsWith(entry, 'partner/') GROUP BY entry
    )"""

_CHOSEN = "SELECT unhex(arrayJoin([${partner:singlequote}]))"
#: The chosen partners, each with its sub-partners, as its own report has them (rule 24).
OF_PARTNERS = (
    f"$__conditionalAll(partner_id IN ({_CHOSEN} UNION ALL SELECT org_id FROM ({ORGS}) WHERE parent_id IN ({_CHOSEN})),"
    " $partner)"
)
OF_SERVICES = "$__conditionalAll(item IN (${service:singlequote}), $service)"
#: One customer, of one partner.
OF_CUSTOMER = "partner_id = unhex(${partner:singlequote}) AND customer_id = unhex(${customer:singlequote})"

FIRST = "toDate32('${period:raw}-01')"
MONTH_END = f"toDate32(toLastDayOfMonth({FIRST}))"
BEFORE = f"({FIRST} - INTERVAL 1 DAY)"
#: The last day of the period that is closed in every partition.
LAST = f"least({MONTH_END}, (SELECT min(closed_through_day) FROM partition_progress FINAL))"
IN_PERIOD = f"day >= {FIRST} AND day <= {MONTH_END}"


def days(microdays: str) -> str:
    """The SQL that makes days of microdays: a decimal with six places, which are all that there can be."""
    return f"toDecimal128({microdays}, 6) / {MICRODAYS_PER_DAY}"


def billed(keys: str, when: str, *, who: str = OF_PARTNERS, services: str = OF_SERVICES) -> str:
    """Usage that reports hold: `keys` (the partner and the day among them), org_name, microdays and active."""
    return f"""
    SELECT usage.*, org.org_name AS org_name
    FROM
    (
        SELECT {keys}, sum(quantity_microdays) AS microdays, sum(active_licences) AS active
        FROM daily_usage FINAL
        WHERE {who} AND {when} AND {services}
          AND (partner_id, customer_id) NOT IN
              (SELECT partner_id, customer_id FROM customers FINAL WHERE {who} AND internal)
        GROUP BY {keys}
    ) AS usage
    LEFT ANY JOIN ({ORGS}) AS org ON usage.partner_id = org.org_id
    WHERE usage.day >= org.billed_from"""


def running(keys: str, first: str, second: str, *, by_item: bool) -> str:
    """Licences that ran at the close of two days: `keys`, org_name, before and now.

    From the intervals: a row of each subscriber, where daily usage has one for each day. Active at a close is what started
    before the next midnight and ends at it or later (rule 15); all of a sub-partner's count from its billing start on.
    """
    since, until = (f"(toInt64(toInt32({day})) + 1) * {MICRODAYS_PER_DAY}" for day in (first, second))
    arrays = "ARRAY JOIN items AS item, starts AS start, ends AS end" if by_item else ""
    held = (
        (f"countIf(start < {since} AND end >= {since})", f"countIf(start < {until} AND end >= {until})")
        if by_item
        else tuple(f"sum(arrayCount((a, b) -> a < {at} AND b >= {at}, starts, ends))" for at in (since, until))
    )
    return f"""
    SELECT ran.* EXCEPT (before, now), org.org_name AS org_name,
           toInt64(if({first} >= org.billed_from, ran.before, 0)) AS before,
           toInt64(if({second} >= org.billed_from, ran.now, 0)) AS now
    FROM
    (
        SELECT {keys}, {held[0]} AS before, {held[1]} AS now
        FROM timelines FINAL {arrays}
        WHERE {OF_PARTNERS} {f"AND {OF_SERVICES}" if by_item else ""}
          AND (partner_id, customer_id) NOT IN
              (SELECT partner_id, customer_id FROM customers FINAL WHERE {OF_PARTNERS} AND internal)
        GROUP BY {keys}
    ) AS ran
    LEFT ANY JOIN ({ORGS}) AS org ON ran.partner_id = org.org_id"""


#: How a partner is called: by its name where the catalog has one (rule 19).
ORG = "if(org_name = '', partner_id, org_name)"


def ranked(series: str, measure: str, rows: str, time: str, kept: int = 6) -> Sql:
    """`measure` by time and series: the largest series by name, each with its rank, and all others together.

    `rows` has `series`, `measure` and the columns that `time` is made of. The rank is in the name, so that the first is the same colour
    everywhere, and text says what a colour does.
    """
    sql = f"""
SELECT time, if(rank <= {kept}, concat(toString(rank), ' ', series), '{kept + 1} others') AS series,
       sum(amount) AS amount
FROM
(
    SELECT time, series, amount, dense_rank() OVER (ORDER BY total DESC, series) AS rank
    FROM
    (
        SELECT time, series, amount, sum(amount) OVER (PARTITION BY series) AS total
        FROM
        (
            SELECT {time} AS time, {series} AS series, {measure} AS amount
            FROM ({rows})
            GROUP BY time, series
        )
    )
)
GROUP BY time, series
ORDER BY time, series"""
    return Sql(sql=sql, columns=("time", "series", "amount"), series=True)


#: The time of a day, as a series' first column wants it.
DAY_TIME = "toDateTime64(day, 0, 'UTC')"
