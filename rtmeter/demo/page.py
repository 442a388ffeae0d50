"""The demo's chart as one HTML file: the drawing, and under it the table of its numbers. Nothing is fetched."""

from html import escape

from billing.report import quantity_text
from billing.stacked_columns import SERIES_COLOURS, stacked_columns
from rtmeter.demo.figures import DailyUsage
from rtmeter.demo.shown import chart_series, day_totals, running_services
from schemas.instants import day_text


def usage_page(daily: DailyUsage, first_closed: DailyUsage, first_day: int, last_day: int) -> str:
    """The page for the days of a month. `first_closed`: the same days before late events restated them."""
    days = range(first_day, last_day + 1)
    title = f"Licences in use, {day_text(first_day)} to {day_text(last_day)}"
    series = chart_series(daily, days)
    before = day_totals(first_closed, days)
    # XML as well as HTML: any parser reads it.
    return f"""<!DOCTYPE html>
<html lang="en" xmlns="http://www.w3.org/1999/xhtml">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>{escape(title)}</title>
<style>{_style()}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p>Quantity in days: a licence held the whole day is 1, half the day 0.5. Internal customers, usage before a
sub-partner's billing start, and one-time services are left out, the first two as in the reports.</p>
<figure>
<ul class="legend">{"".join(f'<li><span class="swatch s{n}"></span>{escape(one.name)}</li>' for n, one in enumerate(series))}
<li><span class="swatch line"></span>total when the days were first closed, before late events restated them</li></ul>
{stacked_columns(title, series, days, before)}
</figure>
{_table(daily, before, days)}
</main>
</body>
</html>
"""


def _table(daily: DailyUsage, before: list[int], days: range) -> str:
    services = running_services(daily, days)
    totals = day_totals(daily, days)
    heads = "".join(
        f'<th scope="col">{escape(name)}</th>' for name in (*(one.name for one in services), "total", "first closed as")
    )
    rows = []
    for place, day in enumerate(days):
        quantities = [*(one.quantities[place] for one in services), totals[place], before[place]]
        cells = "".join(f"<td>{quantity_text(quantity)}</td>" for quantity in quantities)
        rows.append(f'<tr><th scope="row">{day_text(day)}</th>{cells}</tr>')
    sums = [*(sum(one.quantities) for one in services), sum(totals), sum(before)]
    foot = "".join(f"<td>{quantity_text(quantity)}</td>" for quantity in sums)
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="The numbers of the chart">
<table>
<caption>The numbers of the chart, in days</caption>
<thead><tr><th scope="col">day</th>{heads}</tr></thead>
<tbody>
{chr(10).join(rows)}
</tbody>
<tfoot><tr><th scope="row">all</th>{foot}</tr></tfoot>
</table>
</div>"""


def _style() -> str:
    light = " ".join(f"--s{n}: {pair[0]};" for n, pair in enumerate(SERIES_COLOURS))
    dark = " ".join(f"--s{n}: {pair[1]};" for n, pair in enumerate(SERIES_COLOURS))
    used = "\n".join(f".s{n} {{ fill: var(--s{n}); background: var(--s{n}); }}" for n in range(len(SERIES_COLOURS)))
    return f"""
:root {{ --page: #fcfcfb; --ink: #14140f; --quiet: #5c5b55; --grid: #dedcd5; {light} }}
@media (prefers-color-scheme: dark) {{ :root {{ --page: #191918; --ink: #f2f1ec; --quiet: #b3b1a8; --grid: #3a3936; {dark} }} }}
body {{ margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }}
main {{ max-width: 70rem; margin: 0 auto; padding: 1.5rem; }}
h1 {{ font-size: 1.4rem; }}
p {{ max-width: 46rem; color: var(--quiet); }}
figure {{ margin: 1.5rem 0; }}
svg {{ display: block; width: 100%; height: auto; }}
svg text {{ fill: var(--quiet); font: 12px system-ui, sans-serif; }}
.grid {{ stroke: var(--grid); stroke-width: 1; }}
.before {{ fill: none; stroke: var(--ink); stroke-width: 2; stroke-dasharray: 2 3; }}
.part {{ stroke: var(--page); stroke-width: 1; }}
.legend {{ display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: 0 0 .75rem; padding: 0; font-size: .85rem; }}
.swatch {{ display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; border-radius: 2px; vertical-align: -1px; }}
.swatch.line {{ height: 0; border-top: 2px dashed var(--ink); border-radius: 0; vertical-align: 4px; }}
{used}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; color: var(--quiet); padding-bottom: .5rem; }}
th, td {{ padding: .2rem .6rem; border-bottom: 1px solid var(--grid); text-align: right; white-space: nowrap; }}
th:first-child {{ text-align: left; }}
tfoot th, tfoot td {{ font-weight: 600; }}
"""
