"""Current rows are the newest of their history, and no revision has two contents."""

from billing.audit.reconcile.check import Findings, Subject, scope_condition, scope_parameters

_KEYS = {
    "timelines": "partner_id, customer_id, subscriber_id",
    "customers": "partner_id, customer_id",
    "daily_usage": "partner_id, customer_id, location_id, item, day",
}
_COLUMNS = """
SELECT groupArray(name) FROM system.columns
WHERE database = currentDatabase() AND table = {table:String} AND default_kind != 'ALIAS'
"""


def current_is_newest(subject: Subject) -> Findings:
    """Every current row stands in the history with the same content, and nothing in the history is newer."""
    findings = subject.findings()
    for table, key, condition in _tables(subject):
        columns = _columns(subject, table)
        content = f"cityHash64(tuple({columns}))"
        sql = f"""
            SELECT {_shown(key)}, sum(of_current), sum(of_history),
                   argMaxIf(content, last, of_current = 1), argMaxIf(content, last, of_history = 1),
                   maxIf(last, of_current = 1), maxIf(last, of_history = 1)
            FROM
            (
                SELECT {key}, revision AS last, {content} AS content, 1 AS of_current, 0 AS of_history
                FROM {table} FINAL WHERE {condition}
                UNION ALL
                SELECT {key}, revision, {content}, 0, 1 FROM {table}_history WHERE {condition}
            )
            GROUP BY {key}
        """
        for rows in subject.store.stream(sql, scope_parameters(subject.scope)):
            for who, current, history, content_now, content_then, last, newest in rows:
                findings.looked_at += 1
                if not current:
                    findings.add(f"{table} {who}", f"a current row of revision {newest}", "none")
                elif not history or last != newest:
                    findings.add(f"{table} {who}", f"revision {last} in the history", f"revision {newest}")
                elif content_now != content_then:
                    findings.add(f"{table} {who}", f"the content of the history at {last}", "other content")
    return findings


def one_content_per_revision(subject: Subject) -> Findings:
    """A key has one content at a revision, whoever wrote it, however often."""
    findings = subject.findings()
    for table, key, condition in _tables(subject):
        sql = f"""
            SELECT {_shown(key)}, revision, uniqExact(cityHash64(tuple({_columns(subject, table)})))
            FROM {table}_history WHERE {condition} GROUP BY {key}, revision
        """
        for rows in subject.store.stream(sql, scope_parameters(subject.scope)):
            for who, revision, contents in rows:
                findings.looked_at += 1
                if contents > 1:
                    findings.add(f"{table} {who}", f"one content at revision {revision}", f"{contents} contents")
    return findings


def _tables(subject: Subject) -> list[tuple[str, str, str]]:
    condition = scope_condition(subject.scope)
    days = "day BETWEEN toDate32({first_day:Int32}) AND toDate32({last_day:Int32})"
    sort_keys = dict(
        subject.store.query("SELECT name, sorting_key FROM system.tables WHERE database = currentDatabase()")
    )
    return [
        (table, sort_keys.get(table) or key, f"{condition} AND {days}" if table == "daily_usage" else condition)
        for table, key in _KEYS.items()
    ]


def _columns(subject: Subject, table: str) -> str:
    ((names,),) = subject.store.query(_COLUMNS, {"table": table})
    return ", ".join(sorted(names))


def _shown(key: str) -> str:
    parts = ", '/', ".join(f"toString({column.strip()})" for column in key.split(","))
    return f"concat({parts})"
