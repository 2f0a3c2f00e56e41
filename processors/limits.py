"""Every limit, each with its source. Sizes in bytes unless a name says otherwise.

"Table service" is Microsoft's "Understanding the Table service data model" and "Performing entity group transactions".
"""

# --- Table service ---------------------------------------------------------------------------------------------------
OPERATIONS_A_TRANSACTION = 100
"""Table service: at most 100 operations in an entity group transaction, one per entity."""

TRANSACTION_BYTES = 4 * 1024 * 1024
"""Table service: at most 4 MiB of payload in an entity group transaction."""

ENTITY_BYTES = 1024 * 1024
"""Table service: at most 1 MiB an entity."""

OWN_PROPERTIES = 252
"""Table service: 255 properties an entity, of which PartitionKey, RowKey and Timestamp are the system's."""

PROPERTY_BYTES = 64 * 1024
"""Table service: a binary value holds 64 KiB, a string 64 KiB of UTF-16."""

STRING_UNITS = PROPERTY_BYTES // 2
"""UTF-16 code units in a string value."""

KEY_UNITS = 512
"""Table service: a key takes 1 KiB, counted as UTF-16. Our keys are ASCII, so this is also their length."""

EARLIEST_TIME = "1601-01-01T00:00:00Z"
"""Table service: the first instant an Edm.DateTime can hold."""

# --- Event Hubs ------------------------------------------------------------------------------------------------------
MESSAGE_BYTES = 1024 * 1024
"""Event Hubs quotas: a publication is at most 1 MB. Only a dedicated cluster can be told to take more."""

# --- Batch -----------------------------------------------------------------------------------------------------------
ID_LENGTH = 256
"""Characters in a job, task, pool or node id. Batch itself allows 64; the contract allows room."""

# --- Ours ------------------------------------------------------------------------------------------------------------
ENVELOPE_DEPTH = 8
"""Arrays and `records` around a record. Azure Monitor uses one, archives and forwarders up to three."""

BROKEN_LINES = 100
"""Lines of newline-delimited JSON that may be broken before the rest of the message is taken as one broken piece."""

BROKEN_CHARACTERS = 8 * MESSAGE_BYTES
"""Characters that broken pieces may make the parser read in vain: a piece that spans lines is read again from each."""

ITEMS_A_MESSAGE = 10_000
"""Items in a message, records or not. The shortest task complete event takes 140 bytes: 1 MiB holds 7,500 of them."""

BAD_RECORDS_A_MESSAGE = 2_000
"""Dead letters one message may cause. Azure Monitor packs up to ~1,500 records; beyond, the message is one letter."""

TEXT_UNITS = 4_096
"""UTF-16 units kept of a free text (a failure message). 100 such rows stay far under a transaction's 4 MiB."""

CODE_UNITS = 256
"""UTF-16 units kept of a category or code."""

MAP_KEYS = 100
"""Named keys in a map column (exit codes, failures, pools); the others are counted under `other`."""

MAP_UNITS = STRING_UNITS - 2_048
"""UTF-16 units a map column may take, with room for its `other`."""

EXECUTIONS_LISTED = 100
"""Earlier executions a task row lists with their outcome."""

EXECUTIONS_A_TASK = 4_000
"""Executions a task row can tell apart: 16 bytes each beyond the listed ones, in one 64 KiB binary property."""

BUCKETS_A_JOB = 32
"""Table partitions one job may be spread over. Ten take what an account takes, 20,000 entities a second."""

BUCKET_UNITS = len("|31")
"""What a bucket's number adds to a job's key."""

OPERATION_NAMES = 50
"""Ignored operations counted by name in one log line (Batch has about a dozen); the others as `other`."""

CONCURRENT_JOBS = 16
"""Jobs one invocation writes at a time: enough to hide storage's latency, few enough to keep memory small."""

JOBS_REMEMBERED = 1_000
SHARDS_REMEMBERED = 8_000
"""Jobs, and partial sums of them, that a process keeps in the place of reading them: 5 KB each, 100 KB at worst."""

CONCURRENT_BUCKETS = 8
"""Buckets of one job that an invocation reads or writes at a time."""

CONCURRENT_DEAD_LETTERS = 8
"""Dead letters one invocation writes at a time."""

ROWS_A_READ = 200
"""Rows read at once around a conflict: twice as many as a transaction has, and cheaper to read than it is to send."""

RANGES_A_TRANSACTION = 2
"""Conflicts of a transaction after which a range of rows is read; beyond, all that it writes are, one by one."""

CONCURRENT_READS = 16
"""Task rows read at a time when a transaction is planned again."""

ATTEMPTS = 6
"""Tries of one storage request within an invocation; the trigger's retry policy goes on from there."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
"""Pauses between tries: doubled each time up to the longest, of which a random half to whole is waited."""

REQUEST_SECONDS = 30
"""One storage request's time. Table service: the server gives up on its own after 30 s."""

CONFLICTS_A_JOB = 200
"""Conflicts in a row while one job is written. Each means that another writer got on; so many means a fault."""

RETENTION_SECONDS = 20 * 60
"""One run of the retention timer. Azure Functions ends a function after 30 minutes by default on Flex Consumption
("Function app timeout duration"); a step takes a few seconds, a minute where storage is slow."""

RETENTION_DAYS = 36_500
"""The most `RetentionDays` may be: a hundred years, safely after the earliest time of the Table service."""
