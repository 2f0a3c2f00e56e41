"""The read side: what people get out of the rollup tables, long after Batch has forgotten the jobs.

    accounts   which storage account, from an option, the environment or local.settings.json
    models     `Job`, `Task`, `Node`: the tables' rows as typed values; their JSON has the columns' names
    queries    `Rollups`: jobs, tasks and nodes, filtered by the server and streamed

Everything else here shows what these three give, but for two: `backfill` hands archived logs to `processors.ingest`,
and `purge` deletes old jobs, every night where `retention` is set. Nothing in this package writes a rollup itself, and
`processors` does not know it.
"""
