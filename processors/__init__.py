"""The write side: from Event Hub messages to rollup tables.

Data flows one way, a module a step:

    bytes ─records─▶ records ─events─▶ executions ─metrics─▶ sums ─rollups, plan─▶ transactions ─write─▶ tables

`records`, `events`, `metrics`, `rollups` and `plan` are pure: no I/O, no clock, no Azure import. `write` holds the
protocol that counts every execution once, with what `recent` knows of the jobs written last; `tables` and
`dead_letter_blobs` are the only modules that talk to storage. `ingest` is the pipeline, and `services` gives it what
it needs by the `settings`: with the first invocation, the `clients`. `telemetry` tells of it in metrics, where they are
on. `replay` sends dead letters through it again.
"""
