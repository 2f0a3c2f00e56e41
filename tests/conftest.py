"""For every test: Ctrl-C reaches the processes that it starts.

A shell that runs a command in the background has it ignore SIGINT, and what ignores it, its children ignore too.
"""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
