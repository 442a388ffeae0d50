"""Make the secrets that deploy/compose.yaml reads, as files in deploy/secrets: `python3 deploy/make_secrets.py`.

What is there already is left as it is, so that it can be run again. Only Python's own library is used: this runs on the
host, where nothing of rtmeter is installed.
"""

import hashlib
import secrets
from pathlib import Path

FOLDER = Path(__file__).with_name("secrets")
#: ClickHouse's users: rtmeter may do everything in its database, grafana may read it.
USERS = """<clickhouse>
    <profiles>
        <reads>
            <readonly>2</readonly>
            <max_execution_time>60</max_execution_time>
            <do_not_merge_across_partitions_select_final>1</do_not_merge_across_partitions_select_final>
        </reads>
    </profiles>
    <users>
        <rtmeter>
            <password_sha256_hex>{rtmeter}</password_sha256_hex>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants><query>GRANT ALL ON rtmeter.*</query><query>GRANT SELECT ON system.*</query></grants>
        </rtmeter>
        <grafana>
            <password_sha256_hex>{grafana}</password_sha256_hex>
            <networks><ip>::/0</ip></networks>
            <profile>reads</profile>
            <quota>default</quota>
            <grants><query>GRANT SELECT ON rtmeter.*</query></grants>
        </grafana>
    </users>
</clickhouse>
"""


def secret(name: str, content: str | None = None) -> str:
    """The content of a secret's file, made if it is not there: a random one if none is given."""
    file = FOLDER / name
    if not file.exists():
        # Readable by the containers' users, who are others than the one that runs this; the folder is not for others.
        file.write_text((content or secrets.token_urlsafe(32)) + "\n", encoding="utf-8")
        file.chmod(0o644)
        print(f"made {file}")
    return file.read_text(encoding="utf-8").strip()


def main() -> None:
    """See the module's text."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    database = secret("postgres_password")
    secret("database_url", f"postgresql+psycopg://rtmeter:{database}@postgres:5432/rtmeter")
    store, reader = secret("clickhouse_password"), secret("grafana_clickhouse_password")
    secret("clickhouse_dsn", f"http://rtmeter:{store}@clickhouse:8123/rtmeter")
    hashed = {"rtmeter": store, "grafana": reader}
    secret(
        "clickhouse_users.xml",
        USERS.format(**{user: hashlib.sha256(word.encode()).hexdigest() for user, word in hashed.items()}),
    )
    secret("grafana_admin_password")
    secret("link_keys", f"first:{secrets.token_urlsafe(32)}")


if __name__ == "__main__":
    main()
