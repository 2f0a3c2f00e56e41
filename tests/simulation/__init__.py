"""Deterministic simulation: histories of several instances, a hub and a failing storage, each from one seed.

    python -m tests.simulation --seeds 1000

    seed ─scenario─▶ what is published, what goes wrong ─world─▶ a history and its problem, if any ─shrink─▶ its core
                                                           └─ loop: virtual time, one thing at a time

The code that runs is `processors.ingest`, unchanged. `mutants` breaks its rules one at a time: each has to be found.
"""
