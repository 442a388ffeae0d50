"""An explanation on the terminal: sentences, and tables that fit its width."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from billing.audit.day_runs import days_shown, runs_of_equal_days, runs_of_whole_days, service_shown
from billing.audit.explanation import Agreement, ExplainedInterval, ExplainedRecord, Explanation
from billing.audit.words import code, counted, days_text, instant, printable
from billing.report import quantity_text
from schemas.instants import day_text

_MOST_SUBSCRIBERS = 50
_MOST_ARITHMETIC = 40
_COLOURS = {
    Agreement.AGREES: "green",
    Agreement.BEHIND: "yellow",
    Agreement.NOT_KEPT: "yellow",
    Agreement.DISAGREES: "bold red",
}
_LATE_MS = 3_600_000


def show(explained: Explanation, console: Console) -> None:
    """Print everything there is to say."""
    for sentence in explained.said:
        console.print(Text(sentence, "bold" if sentence is explained.said[0] else ""))
    if explained.subscriber_id is not None:
        _who(explained, console)
    _records(explained, console)
    _intervals(explained, console)
    _of_customer(explained, console)
    _sums(explained, console)
    _reported(explained, console)
    _tables(explained, console)


def _who(explained: Explanation, console: Console) -> None:
    if explained.user_id is not None:
        console.print(Text(f"It is user {code(explained.user_id)}."))
    elif explained.workspace_id is not None:
        console.print(Text(f"It is workspace {code(explained.workspace_id)}."))


def _records(explained: Explanation, console: Console) -> None:
    if explained.records:
        _heading("What came, in the order in which it holds", console)
        table = _table(console, ("holds from", "no_wrap"), ("event", ""), ("what it did", "wide"))
        for record in explained.records:
            table.add_row(_when(record), _event(record), Text(record.said))
        console.print(table)
    if explained.left_out:
        verb = "is" if explained.left_out == 1 else "are"
        console.print(
            Text(
                f"{counted(explained.left_out, 'other record')} of it {verb} left out: of other days, or of single "
                "subscribers. --all tells every one."
            )
        )


def _when(record: ExplainedRecord) -> Text:
    if record.time_ms is None:
        return Text("not known")
    text = Text(instant(record.time_ms).replace(" ", "\n", 1))
    late_ms = record.arrived_ms - record.time_ms
    if late_ms >= _LATE_MS:
        hours = late_ms // _LATE_MS
        text.append(f"\ncame {f'{hours // 24} d {hours % 24} h' if hours >= 24 else f'{hours} h'} later", "yellow")
    return text


def _event(record: ExplainedRecord) -> Text:
    text = Text(printable((record.type or "unreadable").removeprefix("wholesale.").removesuffix(".v1")))
    if record.id is not None:
        text.append(f"\nevent {printable(record.id)} of {printable(record.source or '')}", "cyan")
    if record.sequence is not None:
        text.append(f"\nsequence {printable(record.sequence)}")
    text.append(f"\narrived {instant(record.arrived_ms)}\npartition {record.partition}, offset {record.offset}", "dim")
    return text


def _intervals(explained: Explanation, console: Console) -> None:
    if explained.intervals:
        _heading("Intervals, and the arithmetic of each", console)
        console.print(
            Text("g(t) = floor((10 · t + 432) / 864), in microdays, of t in ms since 1970. A day is 1,000,000.", "dim")
        )
    for interval in explained.intervals[:_MOST_ARITHMETIC]:
        console.print()
        console.print(Text(interval.said))
        console.print(Text(_grid_points(interval), "dim"))
        if interval.days:
            console.print(_arithmetic(interval, console))
        else:
            console.print(Text("On the grid, nothing of it lies in these days."))
    left_out = len(explained.intervals[_MOST_ARITHMETIC:]) + explained.intervals_left_out
    if left_out:
        console.print(
            Text(
                f"{counted(left_out, 'more interval')}: in the sums below; --format json tells them, with --all every one."
            )
        )


def _grid_points(interval: ExplainedInterval) -> str:
    start = f"g({interval.start_ms}) = {interval.start_microday:,}"
    if interval.end_ms is None or interval.end_microday is None:
        return f"{start}; it has no end"
    return f"{start}; g({interval.end_ms}) = {interval.end_microday:,}"


def _arithmetic(interval: ExplainedInterval, console: Console) -> Table:
    table = _table(
        console, ("day", "no_wrap"), ("to", "right"), ("from", "right"), ("to − from", "right"), ("days", "right")
    )
    for parts in runs_of_whole_days(interval.days):
        quantity = sum(part.quantity_microdays for part in parts)
        until, since = parts[-1].end_microday, parts[0].start_microday
        days = days_shown([part.day for part in parts])
        table.add_row(days, f"{until:,}", f"{since:,}", f"{quantity:,}", quantity_text(quantity))
    if len(interval.days) > 1:
        table.add_section()
        table.add_row("sum", "", "", f"{interval.quantity_microdays:,}", quantity_text(interval.quantity_microdays))
    return table


def _of_customer(explained: Explanation, console: Console) -> None:
    if explained.attributes:
        _heading("What is said of the customer", console)
        table = _table(console, ("", ""), ("", ""), ("by", "wide"))
        for attribute in explained.attributes:
            by = f"event {printable(attribute.stated_by.id)} of {printable(attribute.stated_by.source)}, offset {attribute.stated_by.offset}"
            table.add_row(attribute.name, printable(str(attribute.value)), by)
        console.print(table)
    if explained.orders:
        _heading("Setup Assist orders that count", console)
        table = _table(console, ("order", ""), ("service and location", ""), ("day", "no_wrap"), ("quantity", "right"))
        for order in explained.orders:
            table.add_row(
                printable(order.order_id),
                service_shown(order.item, order.location_id),
                day_text(order.day) + ("" if order.in_period else ", another day"),
                quantity_text(order.quantity_microdays),
            )
        console.print(table)
    _subscribers(explained, console)


def _subscribers(explained: Explanation, console: Console) -> None:
    if not explained.subscribers:
        return
    _heading("Subscribers", console)
    table = _table(
        console,
        ("subscriber", ""),
        ("user or workspace", ""),
        ("service and location", "wide"),
        ("days", "right"),
        ("anomalies", "right"),
    )
    ordered = sorted(explained.subscribers, key=lambda each: (-each.quantity_microdays, each.subscriber_id))
    for subscriber in ordered[:_MOST_SUBSCRIBERS]:
        of_items = [service_shown(total.item, total.location_id) for total in subscriber.totals]
        table.add_row(
            printable(subscriber.subscriber_id),
            printable(subscriber.user_id or subscriber.workspace_id or ""),
            "\n".join(of_items),
            "\n".join(quantity_text(total.quantity_microdays) for total in subscriber.totals) or "0",
            str(subscriber.anomalies) if subscriber.anomalies else "",
        )
    console.print(table)
    others = ordered[_MOST_SUBSCRIBERS:]
    if others:
        quantity = days_text(sum(each.quantity_microdays for each in others))
        console.print(Text(f"{counted(len(others), 'more subscriber')} with {quantity}: --format json tells them."))


def _sums(explained: Explanation, console: Console) -> None:
    one_interval = len(explained.intervals) == 1 and not explained.intervals_left_out
    if one_interval or not explained.days:
        return
    _heading("Sums", console)
    table = _table(console, ("day", "no_wrap"), ("microdays", "right"), ("quantity", "right"))
    for days in runs_of_equal_days(explained.days):
        quantity = sum(day.quantity_microdays for day in days)
        sums = f"{len(days)} × {days[0].quantity_microdays:,} = {quantity:,}" if len(days) > 1 else f"{quantity:,}"
        table.add_row(days_shown([day.day for day in days]), sums, quantity_text(quantity))
    table.add_section()
    total = explained.quantity_microdays
    table.add_row("all days", f"{total:,}", quantity_text(total))
    console.print(table)
    if len(explained.totals) < 2:
        return
    console.print()
    by_item = _table(console, ("service and location", ""), ("microdays", "right"), ("quantity", "right"))
    for each in explained.totals:
        quantity = each.quantity_microdays
        by_item.add_row(service_shown(each.item, each.location_id), f"{quantity:,}", quantity_text(quantity))
    by_item.add_section()
    by_item.add_row("all", f"{total:,}", quantity_text(total))
    console.print(by_item)


def _reported(explained: Explanation, console: Console) -> None:
    _heading("How it is reported", console)
    for sentence in explained.reported.said:
        console.print(Text(sentence))
    rows = [row for row in explained.reported.rows if row.quantity_microdays]
    if not rows:
        return
    table = _table(
        console, ("service, location, SKU", ""), ("used", "no_wrap"), ("quantity", "right"), ("unit price", "right")
    )
    for row in rows:
        used = (
            [] if row.first_used_day is None or row.last_used_day is None else [row.first_used_day, row.last_used_day]
        )
        service = service_shown(row.item, row.location_id)
        table.add_row(
            f"{service}\n{printable(row.sku)}" if row.sku else service,
            days_shown(used),
            quantity_text(row.quantity_microdays),
            f"{row.unit_price} {row.currency}" if row.listed else "not known",
        )
    console.print(table)


def _tables(explained: Explanation, console: Console) -> None:
    _heading("What the tables say", console)
    for compared in explained.tables:
        text = Text(f"{compared.table} ")
        text.append(compared.agreement.replace("-", " "), _COLOURS[compared.agreement])
        text.append(f": {compared.said}.")
        console.print(text)


def _heading(title: str, console: Console) -> None:
    console.print()
    console.print(Rule(title, align="left", characters="-" if console.options.ascii_only else "─"))


def _table(console: Console, *columns: tuple[str, str]) -> Table:
    """A table without frame; a column is (heading, how): `right`, `no_wrap`, or `wide`, which takes what is left."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=any(how == "wide" for _, how in columns))
    for heading, how in columns:
        table.add_column(
            heading,
            justify="right" if how == "right" else "left",
            no_wrap=how in ("right", "no_wrap"),
            ratio=1 if how == "wide" else None,
            overflow="fold",
        )
    return table
