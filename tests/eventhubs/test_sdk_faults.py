"""Every fault that can be asked for, and that the SDK recovers from it."""

import pytest

from .running import RunningServer
from .sdk import Receiving, consumer, producer, send


def test_dropped_connections_and_detached_links_are_opened_again(server: RunningServer) -> None:
    with producer(server) as client, Receiving(consumer(server), partition_id="0") as receiving:
        send(client, "0")
        receiving.wait(1)
        assert server.command("detach", condition="com.microsoft:server-busy", role="consumer") == 1
        send(client, "1")
        receiving.wait(2)
        assert server.command("detach", match="Partitions/0", role="producer") == 1
        send(client, "2")
        receiving.wait(3)
        assert server.command("drop") >= 2
        send(client, "3")
        receiving.wait(4)
    assert sorted(set(receiving.bodies)) == ["0", "1", "2", "3"]


def test_a_busy_server_is_asked_again(server: RunningServer) -> None:
    server.command("server-busy", on="attach", times=2, role="producer")
    with producer(server) as client:
        send(client, "0")
        assert server.status()["statistics"]["faultsHappened"] == {"server-busy on attach": 2}
        server.command("server-busy", on="send")
        send(client, "1")
        assert server.status()["statistics"]["faultsHappened"] == {"server-busy on attach": 2, "server-busy on send": 1}
        server.command("server-busy", on="attach", role="consumer", match="cg1")
        with Receiving(consumer(server, "cg1"), partition_id="0") as receiving:
            receiving.wait(2)
    assert receiving.bodies == ["0", "1"]
    assert server.status()["armedFaults"] == 0


def test_a_lost_acknowledgement_stores_the_event_twice_and_a_delay_once(server: RunningServer) -> None:
    with producer(server) as client, Receiving(consumer(server), partition_id="0") as receiving:
        send(client, "0")
        server.command("lost-ack")
        send(client, "1")
        server.command("delay", seconds=0.2)
        send(client, "2")
        receiving.wait(4)
    assert receiving.bodies == ["0", "1", "1", "2"]
    assert server.status()["statistics"]["faultsHappened"] == {"lost-ack": 1, "delay": 1}


def test_consumers_are_stalled_resumed_and_rewound(server: RunningServer) -> None:
    with producer(server) as client, Receiving(consumer(server), partition_id="0") as receiving:
        send(client, "0", "1")
        receiving.wait(2)
        server.command("stall", match="Partitions/0")
        send(client, "2")
        send(client, "3")
        assert receiving.bodies == ["0", "1"]
        assert server.status()["statistics"]["eventsDelivered"] == 2
        server.command("resume")
        receiving.wait(4)
        assert server.command("rewind", events=3) == 1
        receiving.wait(7)
        assert receiving.bodies == ["0", "1", "2", "3", "1", "2", "3"]

        server.command("stall")
        server.command("server-busy", times=1000)
        server.command("clear")
        send(client, "4")
        receiving.wait(8)


def test_two_servers_side_by_side_and_one_that_comes_back_on_its_port(server: RunningServer) -> None:
    with RunningServer() as second, producer(server) as client:
        port = second.server.port
        with producer(second) as other:
            send(client, "first")
            send(other, "second")
        assert server.status()["hubs"]["eh1"]["0"]["lastSequenceNumber"] == 0
        assert second.status()["hubs"]["eh1"]["0"]["lastSequenceNumber"] == 0
        lasting = producer(second)
        send(lasting, "before")
    with RunningServer(port=port) as again, lasting:
        send(lasting, "after")
        assert again.status()["hubs"]["eh1"]["0"]["lastSequenceNumber"] == 0


def test_a_taken_port_is_an_error(server: RunningServer) -> None:
    with pytest.raises(OSError, match="address already in use"), RunningServer(port=server.server.port):
        pass
