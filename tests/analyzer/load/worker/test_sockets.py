"""Sockets that are watched together: readers, writers, and turns that end."""

from __future__ import annotations

import asyncio
import socket
import time

import uvloop

from analyzer.load.worker.sockets import TURN_S, Sockets


def run(main: object) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)  # type: ignore[arg-type]


def test_a_reader_is_called_for_what_came_and_no_more_after_its_removal():
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            got: list[bytes] = []
            sockets = Sockets(lambda: False)
            sockets.add(ours, lambda: got.append(ours.recv(100)))
            for word in (b"one", b"two"):
                theirs.send(word)
                await asyncio.sleep(0.01)
            sockets.remove(ours)
            theirs.send(b"three")
            await asyncio.sleep(0.01)
            assert got == [b"one", b"two"]

    run(main())


def test_a_writer_is_called_until_the_socket_has_taken_all():
    """Eight megabytes through a socket that takes some hundred thousand bytes at a time."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            left = memoryview(bytes(8 << 20))
            came = 0

            def write() -> None:
                nonlocal left
                left = left[ours.send(left) :]
                if not left:
                    sockets.remove_writer(ours)

            def read() -> None:
                nonlocal came
                came += len(theirs.recv(1 << 20))

            sockets = Sockets(lambda: True)
            sockets.add(ours, lambda: None)
            sockets.add(theirs, read)
            sockets.add_writer(ours, write)
            end_s = time.monotonic() + 5
            while came < 8 << 20 and time.monotonic() < end_s:
                await asyncio.sleep(0.001)
            assert came == 8 << 20

    run(main())


def test_a_turn_ends_however_much_there_is_to_read():
    """Two sockets that answer each other for ever leave the loop its time all the same."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            sockets = Sockets(lambda: True)
            sockets.add(ours, lambda: ours.send(ours.recv(1)) and None)
            sockets.add(theirs, lambda: theirs.send(theirs.recv(1)) and None)
            ours.send(b"x")
            started_s = time.monotonic()
            for _ in range(5):
                await asyncio.sleep(0)
            assert time.monotonic() - started_s < 5 * TURN_S + 5
            sockets.remove(ours)
            sockets.remove(theirs)

    run(main())
