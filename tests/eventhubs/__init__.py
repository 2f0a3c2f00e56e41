"""Tests of devstack.eventhubs: its pure parts alone, then the whole against the unmodified azure-eventhub SDK."""
