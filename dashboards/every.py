"""The list of dashboards: what is written, tested, measured and drawn."""

from dashboards.billing import BILLING
from dashboards.customer import CUSTOMER_PAGE
from dashboards.parts import Dashboard
from dashboards.pipeline import PIPELINE
from dashboards.runbooks import RUNBOOKS
from dashboards.usage import USAGE

#: Those that ask something.
ASKING: tuple[Dashboard, ...] = (PIPELINE, USAGE, BILLING, CUSTOMER_PAGE)
DASHBOARDS: tuple[Dashboard, ...] = (*ASKING, RUNBOOKS)
