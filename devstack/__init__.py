"""Azure on one machine, without Docker: what the function app needs to run, from PyPI and npm alone.

    azurite          Microsoft's storage emulator, as a process
    eventhubs/       an Event Hubs server (AMQP 1.0) that the unmodified SDK takes for the service
    functions_host/  runs the app through Microsoft's worker library, with the host's trigger semantics
    workload/        realistic Batch diagnostic logs, by seed; `oracle` says what the tables must then hold
    stack            these as one; `publish`, `consumption` and `verdict` are the steps of a run; `cli` the commands
    chaos, outage    the stack under faults, and without storage for a while

Nothing here imports the app: the Functions host loads it as Azure does.
"""
