"""What changes between two layouts, in an order that is safe while requests come in.

State: which replicas (model, device) are up. Operations: load a replica, unload one, or change one
to another variant; every operation that the new layout asks for is done once, so what is left to do
determines the state. A state is safe when

    on each device, for each hard resource (memory): baseline + sum of the residents <= capacity
    each model of the old layout that stays has a replica up

and a step is taken only to a safe state. The search is depth-first over what is left to do, loads
that free another device first. Where no order exists, a replica is put up on a third device for
the time, and where no device has room for that, a replica goes down before its successor is up: the
plan says for which model and between which steps.

Changing a variant in place needs memory for both, since Triton loads the new before it unloads the
old; else it is an unload and a load, with another replica up meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from placement.layout import Layout, PlacedDevice, Resident
from profiles.errors import InputError

HARD = ("memory", "host_memory")  # needed in full as soon as a replica is there
ROUNDING = 1e-9  # relative: predictions are sums of floats
MOST_STATES = 20_000  # that the search looks at before it gives in

Action = Literal["load", "unload", "change"]


@dataclass(frozen=True)
class Step:
    """One thing to do on one Triton."""

    action: Action
    model: str
    device: str
    resident: Resident  # unload: as it was; load and change: as it is to be
    note: str | None = None  # why it is there, when no layout says so; or what it costs


@dataclass(frozen=True)
class Diff:
    """What changes, and how to get there."""

    moved: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]  # model, from, to
    steps: tuple[Step, ...]
    kept: int  # replicas that stay as they are
    rates: tuple[tuple[str, str, float, float], ...]  # model, device, old and new rate
    gaps: tuple[str, ...] = ()  # models that have no replica for a while, in words

    @property
    def empty(self) -> bool:
        """Whether nothing is to be loaded or unloaded."""
        return not self.steps


@dataclass(frozen=True, eq=False)  # each is one of its kind: residents hold mappings
class _Operation:
    action: Action
    model: str
    device: str
    old: Resident | None
    new: Resident | None

    def step(self, note: str | None = None) -> Step:
        resident = self.old if self.action == "unload" else self.new
        assert resident is not None
        return Step(self.action, self.model, self.device, resident, note)


Up = dict[str, dict[str, Resident]]  # by device, by model: what is up


def diff(old: Layout, new: Layout) -> Diff:
    """The changes from `old` to `new` and a safe order for them.

    Raises InputError when the new layout puts more on a device than it holds: no order leads there.
    """
    room = _Room(old, new)
    for device in new.devices:
        if not room.fits(device.name, device.residents):
            raise InputError(
                f"{device.name}: the new layout puts more on it than its memory; see its `uses` "
                "and `capacity`."
            )
    before, after = _replicas(old), _replicas(new)
    operations = list(_operations(before, after))
    steps, gaps = _order(before, operations, room, set(_models(after)))
    same = [key for key in _keys(before) if key in set(_keys(after))]
    kept = [(d, m) for d, m in same if before[d][m].variant == after[d][m].variant]
    rates = tuple(
        (m, d, before[d][m].rate, after[d][m].rate)
        for d, m in same
        if before[d][m].rate != after[d][m].rate
    )
    return Diff(tuple(_moves(before, after)), tuple(steps), len(kept), rates, tuple(gaps))


def _replicas(layout: Layout) -> Up:
    return {device.name: {r.model: r for r in device.residents} for device in layout.devices}


def _keys(up: Up) -> list[tuple[str, str]]:
    return [(device, model) for device, residents in up.items() for model in residents]


def _models(up: Up) -> Iterator[str]:
    return (model for residents in up.values() for model in residents)


def _operations(before: Up, after: Up) -> Iterator[_Operation]:
    for device in dict.fromkeys((*before, *after)):
        was, will = before.get(device, {}), after.get(device, {})
        for model in sorted({*was, *will}):
            old, new = was.get(model), will.get(model)
            if old is None:
                yield _Operation("load", model, device, None, new)
            elif new is None:
                yield _Operation("unload", model, device, old, None)
            elif old.variant != new.variant:
                yield _Operation("change", model, device, old, new)


def _moves(before: Up, after: Up) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    for model in dict.fromkeys((*_models(before), *_models(after))):
        was = {device for device in before if model in before[device]}
        will = {device for device in after if model in after[device]}
        if was != will:
            yield model, tuple(sorted(was - will)), tuple(sorted(will - was))


class _Room:
    """What each device offers to residents, of each hard resource."""

    def __init__(self, old: Layout, new: Layout) -> None:
        self.devices: dict[str, PlacedDevice] = {}
        for device in (*old.devices, *new.devices):  # the new layout's capacity counts
            self.devices[device.name] = device

    def fits(self, device: str, residents: Iterable[Resident]) -> bool:
        """Whether these residents have room on the device together."""
        there, placed = self.devices[device], list(residents)
        return all(
            self._baseline(there, name) + _sum(placed, name)
            <= there.capacity[name] * (1 + ROUNDING)
            for name in HARD
            if name in there.capacity
        )

    @staticmethod
    def _baseline(device: PlacedDevice, name: str) -> float:
        return max(0.0, device.uses.get(name, 0.0) - _sum(device.residents, name))


def _sum(residents: Iterable[Resident], name: str) -> float:
    return sum(resident.uses.get(name, 0.0) for resident in residents)


def _order(
    up: Up, operations: list[_Operation], room: _Room, wanted: set[str]
) -> tuple[list[Step], list[str]]:
    """A safe order, or one with the fewest detours that we find, and the gaps it leaves."""
    up = {device: dict(up.get(device, {})) for device in room.devices}
    steps: list[Step] = []
    gaps: list[str] = []
    left = list(operations)
    detours = len(operations)  # at most: they must not go round in circles
    while left:
        way = _search(up, left, room, wanted)
        for operation in way:
            steps += _carried_out(operation, up, room)
            left.remove(operation)
        if not left:
            break
        detour = _detour(up, left, room) if detours else None
        if detour is not None:
            detours -= 1
            operation, back = detour
            note = f"for the time only: {operation.model} cannot move directly"
            steps.append(operation.step(note))
            _carried_out(operation, up, room)
            left.append(back)
            continue
        operation = _least_harm(up, left, room)
        if operation.action == "unload":
            gaps.append(
                f"{operation.model} has no replica from step {len(steps) + 1} on, until it is "
                "loaded elsewhere: no device has room for both"
            )
            steps.append(operation.step("leaves no replica: there is room for nothing else"))
            _carried_out(operation, up, room)
            left.remove(operation)
        else:  # a change for which the device has no room beside the old
            gaps.append(
                f"{operation.model} has no replica between steps {len(steps) + 1} and "
                f"{len(steps) + 2}: {operation.device} has no room for both variants"
            )
            steps += _carried_out(operation, up, room)
            left.remove(operation)
    return steps, gaps


def _search(up: Up, left: list[_Operation], room: _Room, wanted: set[str]) -> list[_Operation]:
    """The longest safe sequence that is found; all of `left` when there is an order."""
    seen: set[frozenset[_Operation]] = set()
    best: list[_Operation] = []
    way: list[_Operation] = []
    stack = [(_copy(up), iter(_possible(up, left, room, wanted)))]
    seen.add(frozenset(left))
    while stack and len(best) < len(left) and len(seen) < MOST_STATES:
        state, choices = stack[-1]
        operation = next(choices, None)
        if operation is None:
            stack.pop()
            if way:
                way.pop()
            continue
        done = {*way, operation}
        rest = [other for other in left if other not in done]
        if frozenset(rest) in seen:
            continue
        seen.add(frozenset(rest))
        following = _copy(state)
        _carried_out(operation, following, room)
        way.append(operation)
        if len(way) > len(best):
            best = list(way)
        stack.append((following, iter(_possible(following, rest, room, wanted))))
    return best


def _copy(up: Up) -> Up:
    return {device: dict(residents) for device, residents in up.items()}


def _possible(up: Up, left: list[_Operation], room: _Room, wanted: set[str]) -> list[_Operation]:
    """What can be done safely now, the most useful first."""
    blocked = {
        operation.model
        for operation in left
        if operation.action == "unload" and _count(up, operation.model) == 1
    }

    def rank(operation: _Operation) -> int:
        if operation.action == "unload":
            return 0 if operation.model not in wanted else 3
        return 1 if operation.model in blocked else 2

    safe = [operation for operation in left if _is_safe(operation, up, room, wanted)]
    return sorted(safe, key=rank)


def _is_safe(operation: _Operation, up: Up, room: _Room, wanted: set[str]) -> bool:
    others = _count(up, operation.model) - (operation.model in up[operation.device])
    if operation.action == "unload":
        return others > 0 or operation.model not in wanted
    if operation.action == "load":
        assert operation.new is not None
        return room.fits(operation.device, [*up[operation.device].values(), operation.new])
    return _fits_beside(operation, up, room) or (others > 0 and _fits_instead(operation, up, room))


def _fits_beside(operation: _Operation, up: Up, room: _Room) -> bool:
    assert operation.new is not None
    return room.fits(operation.device, [*up[operation.device].values(), operation.new])


def _fits_instead(operation: _Operation, up: Up, room: _Room) -> bool:
    assert operation.new is not None
    others = [r for name, r in up[operation.device].items() if name != operation.model]
    return room.fits(operation.device, [*others, operation.new])


def _count(up: Up, model: str) -> int:
    return sum(model in residents for residents in up.values())


def _carried_out(operation: _Operation, up: Up, room: _Room) -> list[Step]:
    """Change the state, and return the steps that do it."""
    there = up[operation.device]
    if operation.action == "unload":
        del there[operation.model]
        return [operation.step()]
    assert operation.new is not None
    beside = operation.action == "load" or _fits_beside(operation, up, room)
    there[operation.model] = operation.new
    if beside:
        return [operation.step()]
    assert operation.old is not None
    why = "no room for both variants at once"
    return [
        Step("unload", operation.model, operation.device, operation.old, why),
        Step("load", operation.model, operation.device, operation.new),
    ]


def _detour(up: Up, left: list[_Operation], room: _Room) -> tuple[_Operation, _Operation] | None:
    """A replica on a third device that lets a blocked one go, and its later removal."""
    for operation in left:
        if operation.action == "load" or _count(up, operation.model) > 1:
            continue
        assert operation.old is not None
        kind = room.devices[operation.device].device_type
        for name, device in room.devices.items():
            if device.device_type != kind or operation.model in up[name]:
                continue
            if any(o.device == name and o.model == operation.model for o in left):
                continue  # it is to be loaded there anyway, and there was no room
            if room.fits(name, [*up[name].values(), operation.old]):
                guest = replace(operation.old, rate=0.0, share=0.0)
                return (
                    _Operation("load", operation.model, name, None, guest),
                    _Operation("unload", operation.model, name, guest, None),
                )
    return None


def _least_harm(up: Up, left: list[_Operation], room: _Room) -> _Operation:
    """What to do although it leaves a model without a replica: what frees the most memory."""

    def freed(operation: _Operation) -> float:
        assert operation.old is not None
        return operation.old.uses.get(HARD[0], 0.0)

    unloads = [o for o in left if o.action == "unload"]
    if unloads:
        return max(unloads, key=freed)
    changes = [o for o in left if o.action == "change" and _fits_instead(o, up, room)]
    return max(changes or left, key=lambda o: (o.action == "change", o.device))
