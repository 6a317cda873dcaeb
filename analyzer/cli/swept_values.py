"""What can be swept, as words of the command line or as values of a YAML file.

Each function takes either form and returns what `Sweep` holds; it raises ValueError with a
sentence that says what was expected, whatever was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from profiles.variant import HostPolicy, RateLimiter, RateLimitResource

T = TypeVar("T")

KINDS = ("KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL")
POLICY_SETTINGS = ("cpu-cores", "numa-node")  # those that Triton has


def values_of(item: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """A reader of one value, of several in a list, or of several between commas."""

    def read(value: Any) -> tuple[T, ...]:
        if isinstance(value, str):
            value = [word.strip() for word in value.split(",") if word.strip()]
        return each(item)(value)

    return read


def each(item: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """A reader of one value or of several in a list; commas are the value's own."""

    def read(value: Any) -> tuple[T, ...]:
        return tuple(item(one) for one in (value if isinstance(value, list | tuple) else [value]))

    return read


def count(value: Any) -> int:
    """A whole number above zero."""
    number = whole(value)
    if number < 1:
        raise ValueError(f"{value!r} is not a whole number above zero")
    return number


def whole(value: Any) -> int:
    """A whole number, zero or above."""
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a whole number, such as 4")
    return number


def rate(value: Any) -> float:
    """A number above zero."""
    try:
        number = float(str(value))
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} is not a number of requests per second, such as 50")
    return number


def one_of(*words: str) -> Callable[[Any], str]:
    """A reader of one of these words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return str(value)

    return read


def text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def parameter_value(value: Any) -> str:
    """A backend parameter's value as Triton takes it: `true` for a YAML true."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is no value of a backend parameter, such as 4 or true")  # noqa: TRY004
    return str(value)


def parameters(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Backend parameters from `{intra_op_thread_count: [1, 2], INFERENCE_MODE: true}`."""
    pairs = mapping(value, "{intra_op_thread_count: [1, 2]}")
    return tuple((key, values_of(parameter_value)(given)) for key, given in pairs.items())


def dims(value: Any) -> tuple[int, ...]:
    """The dims of an input, without the batch."""
    return values_of(whole)(value)


def rate_limiter(value: Any) -> RateLimiter:
    """A rate limiter from `R1:1/2,R2:4@3`, or from a mapping.

    The words: a name, how much of it each instance takes, how much there is of it on the device
    (left out: the most that any instance takes), and after `@` the priority.
    """
    if isinstance(value, str):
        resources, at, priority = value.partition("@")
        made = tuple(_resource(word) for word in resources.split(",") if word)
        if not made and not at:
            raise ValueError(f"{value!r} is not NAME:COUNT[/AVAILABLE],...[@PRIORITY]")
        return RateLimiter(made, count(priority) if at else 0)
    known = mapping(value, "{resources: {R1: 1}, priority: 2}", ("resources", "priority"))
    given = known.get("resources", {})
    if isinstance(given, Mapping):
        resources_ = tuple(_resource(f"{name}:{many}") for name, many in given.items())
    elif isinstance(given, list):
        resources_ = tuple(_described_resource(one) for one in given)
    else:
        raise ValueError(f"resources: {given!r} is no mapping such as {{R1: 1}}")  # noqa: TRY004
    return RateLimiter(resources_, count(known["priority"]) if "priority" in known else 0)


def _resource(word: str) -> RateLimitResource:
    name, colon, many = word.strip().partition(":")
    if not name or not colon:
        raise ValueError(f"{word!r} is not NAME:COUNT, such as R1:1, or R1:1/2 where there are 2")
    needed, slash, available = many.partition("/")
    return RateLimitResource(name, count(needed), count(available) if slash else None)


def _described_resource(value: Any) -> RateLimitResource:
    example = "{name: R1, count: 1, available: 2, shared: false}"
    given = mapping(value, example, ("name", "count", "available", "shared"))
    if "name" not in given or "count" not in given:
        raise ValueError(f"{value!r} lacks name or count; {example} has all that can be said")
    return RateLimitResource(
        text(given["name"]),
        count(given["count"]),
        count(given["available"]) if given.get("available") is not None else None,
        bool(given.get("shared", False)),
    )


def host_policy(value: Any) -> HostPolicy:
    """A host policy from `pinned:cpu-cores=0-3,numa-node=0`, or from a mapping with a name.

    Without settings it is a policy that the server knows already.
    """
    if isinstance(value, str):
        name, colon, words = value.partition(":")
        pairs = [word.partition("=") for word in words.split(",") if word]
        if not name or (colon and not pairs) or any(not v for _, _, v in pairs):
            raise ValueError(f"{value!r} is not NAME[:SETTING=VALUE,...]")
        settings = {key: setting for key, _, setting in pairs}
    else:
        example = "{name: pinned, cpu-cores: 0-3}"
        given = mapping(value, example, ("name", *POLICY_SETTINGS))
        if "name" not in given:
            raise ValueError(f"{value!r} lacks a name; {example} has one")
        name = text(given["name"])
        settings = {key: str(setting) for key, setting in given.items() if key != "name"}
    for key in settings:
        if key not in POLICY_SETTINGS:
            raise ValueError(
                f"{key!r} is no setting of a host policy: {', '.join(POLICY_SETTINGS)}"
            )
    return HostPolicy(name, tuple(sorted(settings.items())))


def mapping(value: Any, example: str, keys: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """The mapping; ValueError when it is none, or has a key that is none of `keys`."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is no mapping such as {example}")  # noqa: TRY004
    for key in value:
        if keys and key not in keys:
            raise ValueError(f"unknown key {key!r}; there are {', '.join(keys)}")
    return {str(key): one for key, one in value.items()}
