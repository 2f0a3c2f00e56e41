"""The Azure Functions host for one Python app on one machine: `python -m devstack.functions_host`.

It does what the host around Microsoft's Python worker does (settings, triggers, retries, checkpoints, HTTP) and
leaves the worker's own part (indexing, binding conversion, invocation) to Microsoft's `azure-functions-runtime`,
so that an app runs here through the code that runs it in Azure. That library keeps module globals: one app a
process. From here nothing of this project is imported.

    settings.py             local.settings.json, and what refers to it
    host_json.py            the part of host.json that is obeyed
    rpc.py                  the messages between host and worker
    worker.py               the library: start, index, invoke
    bindings.py             what the indexed functions are triggered by
    event_hub_batch.py      events as the host hands them over
    batching.py             which events make a batch
    event_hub_trigger.py    receive, invoke, retry, checkpoint
    retry.py                how long to wait before the next try
    routes.py               HTTP route templates
    http_server.py          HTTP functions and the admin endpoints
    timer.py                timer functions, run when asked for
    host.py                 all of it together
"""
