"""Sockets polled together beside an event loop, for less CPU time per response.

The loop's own way from a socket to its reader costs more than reading does. So the sockets are in
an epoll of their own, whose file descriptor the loop watches; what it tells is worked off in turns,
after which the loop sees to everything else.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import time
from collections.abc import Callable

READABLE = select.EPOLLIN
TURN_S = 0.02  # at most, without a look at anything else
EVENTS = 64  # per poll: a larger array is slower to allocate
TIMEOUT = struct.pack("ll", 0, int(TURN_S * 1e6))  # struct timeval
Ready = Callable[[], None]


class Sockets:
    """Calls readers and writers of sockets; `busy` says whether a turn may go on waiting."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._readers: dict[int, Ready] = {}
        self._writers: dict[int, Ready] = {}
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._turn)

    def add(self, own: socket.socket, reader: Ready) -> None:
        """Call `reader` whenever there is something to read."""
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEOUT)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TIMEOUT)
        self._sockets[own.fileno()] = own
        self._readers[own.fileno()] = reader
        self._epoll.register(own, select.EPOLLIN)

    def add_writer(self, own: socket.socket, writer: Ready) -> None:
        """Call `writer` too, whenever the socket takes more."""
        self._writers[own.fileno()] = writer
        self._epoll.modify(own, select.EPOLLIN | select.EPOLLOUT)

    def remove_writer(self, own: socket.socket) -> None:
        """Call `writer` no more."""
        self._writers.pop(own.fileno(), None)
        self._epoll.modify(own, select.EPOLLIN)

    def remove(self, own: socket.socket) -> None:
        """Stop polling it; call before it is closed."""
        self._sockets.pop(own.fileno(), None)
        if self._readers.pop(own.fileno(), None) is not None:
            self._writers.pop(own.fileno(), None)
            self._epoll.unregister(own)

    def _turn(self) -> None:
        end_s = time.monotonic() + TURN_S
        wait_s = 0.0
        while True:
            if len(self._readers) == 1 and not self._writers:
                self._wait_in_the_only_one(end_s)
            for number, events in self._epoll.poll(wait_s, EVENTS):
                if events != READABLE:
                    writer = self._writers.get(number)
                    if writer is not None and events & select.EPOLLOUT:
                        writer()
                    if events == select.EPOLLOUT:
                        continue
                reader = self._readers.get(number)
                if reader is not None:
                    reader()
            wait_s = end_s - time.monotonic()
            if wait_s <= 0 or not self._busy():
                return

    def _wait_in_the_only_one(self, end_s: float) -> None:
        """Block in the only socket's reader: one system call less than epoll."""
        ((number, own),) = self._sockets.items()
        reader = self._readers[number]
        own.setblocking(True)
        while len(self._readers) == 1 and not self._writers and self._busy():
            reader()
            if time.monotonic() >= end_s:
                break
        if own.fileno() >= 0:
            own.setblocking(False)
