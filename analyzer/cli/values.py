"""Values of options and of the configuration file: words of the command line, or YAML.

Each reader takes either form, returns what the program works with, and raises ValueError with a
sentence that says what is expected. `Value` makes an option's type of one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from profiles.variant import HostPolicy, RateLimiter, RateLimitResource

T = TypeVar("T")
Reader = Callable[[Any], Any]

KINDS = ("KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL")
LARGEST = 2**31 - 1  # Triton's configuration has no larger whole number
POLICY_SETTINGS = ("cpu-cores", "numa-node")  # those that Triton has
DURATIONS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


class Value(click.ParamType[Any]):
    """An option type that converts by `read`; its help shows `name` in capitals."""

    def __init__(self, read: Reader, name: str, *, may_be_empty: bool = False) -> None:
        self.read, self.name, self.may_be_empty = read, name, may_be_empty

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str | int | float | list | Mapping):
            return value  # it was read before
        try:
            result = self.read(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        if isinstance(result, tuple) and not result and not self.may_be_empty:
            self.fail("names nothing. Leave the option out, or name at least one.", param, ctx)
        return result


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


def whole(value: Any, least: int = 0) -> int:
    """An integer, zero or above."""
    if not isinstance(value, bool) and re.fullmatch(r"\s*\+?\d+\s*", str(value)):
        if len(str(value)) > 20 or int(str(value)) > LARGEST:
            raise ValueError(f"{str(value)[:20]!r} is more than {LARGEST}")
        if int(str(value)) >= least:
            return int(str(value))
    raise ValueError(f"{value!r} is not {'a positive' if least else 'a non-negative'} integer")


def count(value: Any) -> int:
    """An integer above zero."""
    return whole(value, 1)


def rate(value: Any) -> float:
    """Requests per second, above zero."""
    number = _number(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} is not a number of requests per second, e.g. 50")
    return number


def amount(value: Any) -> float:
    """A finite number, zero or above."""
    number = _number(value)
    if not 0 <= number < float("inf"):
        raise ValueError(f"{value!r} is not a number of zero or above")
    return number


def milliseconds(value: Any) -> float:
    """A finite number of milliseconds, above zero."""
    number = _number(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} is not a number of milliseconds, e.g. 20")
    return number


def percent(value: Any) -> float:
    """A share in (0, 1] from `90%`, `90` or `0.9`; of 1 nobody knows which it is."""
    text = str(value).strip()
    share = _number(text.removesuffix("%"))
    if share == 1 and not text.endswith("%"):
        raise ValueError(f"{value!r} could mean 1% or 100%: add the sign")
    if text.endswith("%") or share > 1:
        share /= 100
    if not 0 < share <= 1:
        raise ValueError(f"{value!r} is not a percentage in (0, 100], e.g. 90%")
    return share


def duration(value: Any) -> float:
    """Seconds from `30`, `30s`, `2m`, `24h` or `500ms`."""
    for suffix, seconds in DURATIONS_S.items():
        if str(value).endswith(suffix):
            number = _number(str(value).removesuffix(suffix)) * seconds
            if 0 < number < float("inf"):
                return number
            break
    raise ValueError(f"{value!r} is not a duration, e.g. 30s, 2m or 500ms")


def one_of(*words: str) -> Callable[[Any], str]:
    """A reader of one of these words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return str(value)

    return read


def text(value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a non-empty string")
    return value


def parameter_value(value: Any) -> str:
    """A backend parameter's value as Triton takes it: `true` for a YAML true."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not the value of a backend parameter, e.g. 4 or true")  # noqa: TRY004
    return str(value)


def parameters(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Backend parameters from `{intra_op_thread_count: [1, 2], INFERENCE_MODE: true}`."""
    pairs = mapping(value, "{intra_op_thread_count: [1, 2]}")
    return tuple((key, values_of(parameter_value)(given)) for key, given in pairs.items())


def parameter(value: Any) -> tuple[str, tuple[str, ...]]:
    """A backend parameter and the values to try, from `KEY=V1,V2`."""
    key, _, words = str(value).partition("=")
    if not key or not words:
        raise ValueError(f"{value!r} is not KEY=VALUE[,VALUE...]")
    return key, tuple(words.split(","))


def with_models(value: Any) -> tuple[str, tuple[str, ...]]:
    """The models that a model's business logic calls, from `MODEL=A,B`."""
    model, _, words = str(value).partition("=")
    called = values_of(str)(words)
    if not model or not called:
        raise ValueError(f"{value!r} is not MODEL=OTHER[,OTHER...]")
    return model, called


def shard(value: Any) -> Any:
    """Which part of how many, from `I/N`."""
    from analyzer.measure.shard import Shard

    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", str(value))
    if not match:
        raise ValueError(f"{value!r} is not I/N, e.g. 0/4 for the first of four")
    return Shard(int(match[1]), int(match[2]))


def part_load(value: Any) -> Any:
    """Parts of the throughput, 0 to 1, from `20,50,80`; `auto`; None from `none`."""
    if value in ("auto", "none"):
        return "auto" if value == "auto" else None
    percents = values_of(whole)(value)
    if not all(1 <= percent <= 99 for percent in percents):
        raise ValueError(f"{value!r} is neither auto nor none, nor percents from 1 to 99")
    return tuple(percent / 100 for percent in percents)


def dims(value: Any) -> tuple[int, ...]:
    """The dims of an input, without the batch."""
    return values_of(whole)(value)


def shape(value: Any) -> tuple[str | None, str, tuple[int, ...]]:
    """Model or None, input and dims without the batch, from `[MODEL/]INPUT:3,224,224`."""
    match = re.fullmatch(r"(?:(?P<model>[^/]+)/)?(?P<name>.+):(?P<dims>\d+(,\d+)*)", str(value))
    if not match:
        raise ValueError(f"{value!r} is not [MODEL/]INPUT:D1,D2,...")
    return match["model"], match["name"], dims(match["dims"])


def limits(value: Any) -> tuple[float, float]:
    """The least and the greatest value, from `64:512` or `[64, 512]`."""
    words = value.split(":") if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or len(words) != 2:
        raise ValueError(f"{value!r} is not LEAST:GREATEST, e.g. 64:512")
    try:
        low, high = (float(str(word)) for word in words)
    except ValueError:
        raise ValueError(f"{value!r} is not LEAST:GREATEST, e.g. 64:512") from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"{value!r}: the least is above the greatest, or one is no number")
    return low, high


def random_range(value: Any) -> tuple[str | None, str, tuple[float, float]]:
    """Model or None, input and limits of its random data, from `[MODEL/]INPUT=64:512`."""
    name, _, words = str(value).rpartition("=")
    model, slash, input_ = name.partition("/")
    if not name or not words or (slash and not input_):
        raise ValueError(f"{value!r} is not [MODEL/]INPUT=LEAST:GREATEST")
    return (model, input_, limits(words)) if slash else (None, name, limits(words))


def device_url(value: Any) -> tuple[str, str]:
    """A device and the HTTP address of the Triton that serves it, from `DEVICE=HOST:PORT`."""
    device, _, url = str(value).rpartition("=")
    url = url.removeprefix("http://").rstrip("/")
    if not device or not re.fullmatch(r"[^\s:/@]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}", url):
        raise ValueError(f"{value!r} is not DEVICE=HOST:PORT, e.g. t4-1=10.0.0.5:8000")
    return device, url


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
    if isinstance(given, list):
        resources_ = tuple(_described_resource(one) for one in given)
    else:
        pairs = mapping(given, "{R1: 1}")
        resources_ = tuple(_resource(f"{name}:{many}") for name, many in pairs.items())
    return RateLimiter(resources_, count(known["priority"]) if "priority" in known else 0)


def _resource(word: str) -> RateLimitResource:
    name, _, many = word.strip().partition(":")
    if not name or not many:
        raise ValueError(f"{word!r} is not NAME:COUNT[/AVAILABLE], e.g. R1:1 or R1:1/2")
    needed, slash, available = many.partition("/")
    return RateLimitResource(name, count(needed), count(available) if slash else None)


def _described_resource(value: Any) -> RateLimitResource:
    example = "{name: R1, count: 1, available: 2, shared: false}"
    given = mapping(value, example, ("name", "count", "available", "shared"))
    if "name" not in given or "count" not in given:
        raise ValueError(f"{value!r} lacks name or count, e.g. {example}")
    available = given.get("available")
    return RateLimitResource(
        text(given["name"]),
        count(given["count"]),
        None if available is None else count(available),
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
            raise ValueError(f"{value!r} lacks a name, e.g. {example}")
        name = text(given["name"])
        settings = {key: str(setting) for key, setting in given.items() if key != "name"}
    _check_keys(settings, POLICY_SETTINGS, "setting")
    return HostPolicy(name, tuple(sorted(settings.items())))


def mapping(value: Any, example: str, keys: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """The mapping; ValueError when it is none, or has a key that is none of `keys`."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a mapping, e.g. {example}")  # noqa: TRY004
    _check_keys(value, keys, "key")
    return {str(key): one for key, one in value.items()}


def _check_keys(given: Mapping[Any, Any], known: tuple[str, ...], what: str) -> None:
    for key in given:
        if known and key not in known:
            raise ValueError(f"Unknown {what} {key!r}. Known {what}s: {', '.join(known)}")


def _number(value: Any) -> float:
    try:
        return float(str(value))
    except ValueError:
        return -1.0
