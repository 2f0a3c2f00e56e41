"""Hypothesis for this folder: a fixed number of examples, and no deadline, because machines are shared."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "core", max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("core")
