"""Received events in the form in which the host hands them to a function. Pure.

The form is that of a trigger with dataType binary and cardinality many: bodies and metadata travel as parallel
arrays, in order, one element an event, except the partition keys, of which empty ones are left out (Microsoft
Learn, "Azure Event Hubs trigger", Event metadata). Times are UTC and written without an offset, as .NET does.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpMessageBodyType

from devstack.functions_host import rpc

# What an offset is where the service's offset is no number, as in a geo-replicated namespace.
_NO_NUMERIC_OFFSET = -1


class Partition(Protocol):
    """Where events come from; the SDK's PartitionContext is one."""

    fully_qualified_namespace: str
    eventhub_name: str
    consumer_group: str
    partition_id: str


def trigger_data(events: Sequence[EventData]) -> Any:
    """The bodies, as TypedData."""
    return rpc.binaries([_body(event) for event in events])


def trigger_metadata(events: Sequence[EventData], partition: Partition) -> dict[str, Any]:
    """The trigger metadata, by name, as TypedData. Two arrays that the host sends twice are so here too."""
    system_properties = [_system_properties(event) for event in events]
    offsets = rpc.strings([entry["OffsetString"] for entry in system_properties])
    context = rpc.json_text(_partition_context(partition))
    return {
        "TriggerPartitionContext": context,
        "PartitionContext": context,
        "PartitionKeyArray": rpc.strings(
            [entry["PartitionKey"] for entry in system_properties if entry["PartitionKey"]]
        ),
        "OffsetArray": offsets,
        "OffsetStringArray": offsets,
        "SequenceNumberArray": rpc.integers([entry["SequenceNumber"] for entry in system_properties]),
        "EnqueuedTimeUtcArray": rpc.json_text(_json([entry["EnqueuedTimeUtc"] for entry in system_properties])),
        "PropertiesArray": rpc.json_text(_json([_properties(event) for event in events])),
        "SystemPropertiesArray": rpc.json_text(_json(system_properties)),
    }


def _body(event: EventData) -> bytes:
    if event.body_type is not AmqpMessageBodyType.DATA:
        return event.body_as_str().encode()
    # A data body is a sequence of sections. Of one section, the usual case, nothing is copied.
    sections = list(cast(Iterable[bytes], event.body))
    return sections[0] if len(sections) == 1 else b"".join(sections)


def _system_properties(event: EventData) -> dict[str, Any]:
    offset = event.offset or ""
    enqueued = _utc_text(event.enqueued_time)
    key = event.partition_key
    return {
        "x-opt-sequence-number": event.sequence_number,
        "x-opt-offset": offset,
        "x-opt-enqueued-time": f"{enqueued}+00:00",
        "SequenceNumber": event.sequence_number,
        "Offset": int(offset) if offset.isdecimal() else _NO_NUMERIC_OFFSET,
        "OffsetString": offset,
        "PartitionKey": None if key is None else _plain(key),
        "EnqueuedTimeUtc": enqueued,
    }


def _utc_text(moment: datetime | None) -> str:
    assert moment is not None, "the service stamps every event"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _properties(event: EventData) -> dict[str, Any]:
    return {str(_plain(name)): _plain(value) for name, value in (event.properties or {}).items()}


def _plain(value: Any) -> Any:
    """The SDK gives AMQP strings as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _partition_context(partition: Partition) -> str:
    return _json(
        {
            "IsCheckpointingAfterInvocation": True,
            "FullyQualifiedNamespace": partition.fully_qualified_namespace,
            "EventHubName": partition.eventhub_name,
            "ConsumerGroup": partition.consumer_group,
            "PartitionId": partition.partition_id,
        }
    )


def _json(value: Any) -> str:
    # Properties may hold AMQP types that JSON has not: UUIDs, timestamps, decimals.
    return json.dumps(value, separators=(",", ":"), default=str)
