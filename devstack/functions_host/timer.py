"""Timer functions, which run here only when asked for.

The rule: a schedule is never followed. A timer function runs once at the start if its binding says
run_on_startup, and whenever POST /admin/functions/{name} asks for it (Microsoft Learn, "Manually run a
non HTTP-triggered function"), so that what happens on a developer's machine happens for a reason.
"""

import json

from devstack.functions_host import rpc
from devstack.functions_host.bindings import TimerTrigger
from devstack.functions_host.worker import Worker


async def invoke_timer(worker: Worker, trigger: TimerTrigger) -> bool:
    """Invoke it once, as on time and without a history; whether it succeeded. Its failure is already logged."""
    info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
    outcome = await worker.invoke(trigger.function, trigger.argument, rpc.json_text(json.dumps(info)))
    return outcome.succeeded
