"""Hypothesis for this folder: a fixed number of examples, and no deadline, because machines are shared."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "core", max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# For `make mutants`: the same examples each time, few of them, and no search for the smallest that fails.
settings.register_profile(
    "mutation",
    settings.get_profile("core"),
    max_examples=25,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("core")
