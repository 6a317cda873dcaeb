"""Wakes an event loop with microsecond precision; uvloop's own timers count milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time

ABSOLUTE = 1  # TFD_TIMER_ABSTIME
FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # what TFD_NONBLOCK and TFD_CLOEXEC are defined as


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """A timerfd (timerfd_create(2)) on the running event loop."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._rang = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._ring)

    async def wait_until(self, instant_s: float) -> None:
        """Return at an instant of `time.monotonic`, at once when it has passed."""
        if instant_s <= time.monotonic():
            return
        seconds, share = divmod(instant_s, 1.0)
        value = _Itimerspec(_Timespec(0, 0), _Timespec(int(seconds), int(share * 1e9)))
        self._rang.clear()
        self._libc.timerfd_settime(self._fd, ABSOLUTE, ctypes.byref(value), None)
        await self._rang.wait()

    def close(self) -> None:
        """Give the file descriptor back."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _ring(self) -> None:
        os.read(self._fd, 8)
        self._rang.set()
