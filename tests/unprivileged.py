"""Runs a piece of a test as a user to whom file permissions apply: to root they do not."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

NOBODY = 65534


def as_nobody(work: Callable[[], Any]) -> Any:
    """What `work` returns in a child process without privileges; its exception is raised here.

    Modules must be imported before: an unprivileged user may not be able to read them.
    """
    inbox, outbox = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            try:
                answer = (True, work())
            except BaseException as error:
                answer = (False, error)
            with os.fdopen(outbox, "wb") as pipe:
                pickle.dump(answer, pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(outbox)
    with os.fdopen(inbox, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    done, what = pickle.loads(content)
    if not done:
        raise what
    return what
