# One image for every part of rtmeter: which one it is, the command says (deploy/compose.yaml).

FROM python:3.11.14-slim-bookworm AS build
RUN python -m venv /opt/rtmeter
WORKDIR /src
# The dependencies first: they change seldom, and then this layer is there already.
COPY deploy/image/requirements.txt deploy/image/requirements.txt
RUN /opt/rtmeter/bin/pip install --no-cache-dir --require-hashes --requirement deploy/image/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY billing billing
COPY rtmeter rtmeter
COPY schemas schemas
COPY sinks sinks
COPY streams streams
# --no-deps: what is not pinned by hash is not installed.
RUN /opt/rtmeter/bin/pip install --no-cache-dir --no-deps . \
    && /opt/rtmeter/bin/pip check

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 rtmeter \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin rtmeter \
    && install -d -o 10001 -g 10001 /var/lib/rtmeter
COPY --from=build /opt/rtmeter /opt/rtmeter
ENV PATH=/opt/rtmeter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 \
    RTMETER_DATA_DIR=/var/lib/rtmeter \
    RTMETER_METRICS_HOST=0.0.0.0 \
    RTMETER_METRICS_PORT=9100 \
    RTMETER_LOG_FORMAT=json
# The root file system may be read-only: nothing is written but to these two places.
VOLUME ["/var/lib/rtmeter", "/tmp"]
USER 10001:10001
ENTRYPOINT ["rtmeter"]
CMD ["--help"]
