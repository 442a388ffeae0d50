"""Prometheus's own tool, which Debian has in its package `prometheus`."""

import shutil

import pytest

PROMTOOL = shutil.which("promtool") or "promtool"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed, so nothing was tried: apt install prometheus",
)
