"""The choices that readers make: month, partners, services, a customer."""

from dashboards.parts import Sql, Variable
from dashboards.questions import IN_PERIOD, ORGS

#: The parts of the table are months, so this reads no rows.
PERIOD = Variable(
    name="period",
    label="Month",
    tells="A month with closed days, the newest first",
    ask=Sql(
        sql="SELECT concat(leftPad(toString(intDiv(month, 100)), 4, '0'), '-', leftPad(toString(month % 100), 2, '0')) AS period\n"
        "FROM (SELECT toYYYYMM(day) AS month FROM daily_usage GROUP BY month)\nORDER BY period DESC",
        columns=("period",),
    ),
)
_ORG_TEXT = """multiIf(org_name = '', org_id, parent_id = '', org_name,
           concat(ifNull(nullIf(parent_name, ''), parent_id), ' / ', org_name))"""


#: Not all usage is of partners that the catalog knows (rule 19).
_ORGS = f"""
SELECT hex(org_id) AS value, {_ORG_TEXT} AS text
FROM
(
    SELECT org_id, any(org_name) AS org_name, any(parent_id) AS parent_id
    FROM
    (
        SELECT org_id, org_name, parent_id FROM ({ORGS})
        UNION ALL
        SELECT DISTINCT partner_id, '', '' FROM (SELECT partner_id FROM customers UNION ALL SELECT partner_id FROM timelines)
        WHERE partner_id NOT IN (SELECT org_id FROM ({ORGS}))
    )
    GROUP BY org_id
) AS org
LEFT ANY JOIN (SELECT org_id AS parent_org, org_name AS parent_name FROM ({ORGS})) AS parent
ON org.parent_id = parent.parent_org
ORDER BY text, value"""


PARTNERS = Variable(
    name="partner",
    label="Partner",
    tells="Partners, each with its sub-partners, or sub-partners alone; those too that no catalog knows",
    ask=Sql(sql=_ORGS, columns=("value", "text")),
    several=True,
)
PARTNER = Variable(
    name="partner",
    label="Partner",
    tells="The partner or sub-partner that the customer is of",
    ask=Sql(sql=_ORGS, columns=("value", "text")),
)
SERVICES = Variable(
    name="service",
    label="Service",
    tells="Services with usage in the month",
    ask=Sql(
        sql=f"SELECT DISTINCT item AS service FROM daily_usage WHERE {IN_PERIOD} ORDER BY service",
        columns=("service",),
    ),
    several=True,
)
#: More would not be read in a list; a link from another dashboard opens any customer.
_MOST_CUSTOMERS = 2_000
CUSTOMER = Variable(
    name="customer",
    label="Customer",
    tells=f"A customer of the partner; of more than {_MOST_CUSTOMERS:,} the first by name",
    ask=Sql(
        sql=f"""
SELECT hex(customer_id) AS value, if(any(name) = '', customer_id, concat(any(name), ' (', customer_id, ')')) AS text
FROM
(
    SELECT customer_id, name FROM customers FINAL WHERE partner_id = unhex(${{partner:singlequote}})
    UNION ALL
    SELECT DISTINCT customer_id, '' FROM timelines
    WHERE partner_id = unhex(${{partner:singlequote}}) AND customer_id NOT IN
        (SELECT customer_id FROM customers WHERE partner_id = unhex(${{partner:singlequote}}))
)
GROUP BY customer_id
ORDER BY text, value
LIMIT {_MOST_CUSTOMERS}""",
        columns=("value", "text"),
    ),
)
