"""Changes between layouts: their order is safe at every step."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.layout import Layout, PlacedDevice, Resident
from placement.layout.diff import Diff, diff
from profiles.errors import InputError
from profiles.variant import Variant


def a_resident(model: str, memory: float = 4.0, instances: int = 1) -> Resident:
    return Resident(
        model, "o", uses={"memory": memory}, variant=Variant(model, instance_count=instances)
    )


def a_layout(capacity: float = 10.0, **devices: list[Resident]) -> Layout:
    """Devices of one type, 1 of memory taken by the server itself."""
    return Layout(
        tuple(
            PlacedDevice(
                name,
                "Tesla T4",
                tuple(residents),
                {"memory": 1.0 + sum(r.uses["memory"] for r in residents)},
                {"memory": capacity},
            )
            for name, residents in devices.items()
        )
    )


def steps(found: Diff) -> list[str]:
    return [f"{step.action} {step.model} {step.device}" for step in found.steps]


def test_equal_layouts_differ_in_nothing():
    layout = a_layout(a=[a_resident("x")])
    found = diff(layout, layout)
    assert found.empty
    assert found.kept == 1


def test_a_model_that_moves_is_up_at_its_new_place_before_it_goes():
    found = diff(a_layout(a=[a_resident("x")]), a_layout(b=[a_resident("x")]))
    assert steps(found) == ["load x b", "unload x a"]
    assert found.moved == (("x", ("a",), ("b",)),)


def test_room_is_made_before_it_is_needed():
    """9 of room each. x (6) can come to b only when y (5) has left it for c."""
    old = a_layout(a=[a_resident("x", 6)], b=[a_resident("y", 5)], c=[])
    new = a_layout(a=[], b=[a_resident("x", 6)], c=[a_resident("y", 5)])
    found = diff(old, new)
    assert steps(found) == ["load y c", "unload y b", "load x b", "unload x a"]
    assert not found.gaps


def test_a_load_that_would_block_the_way_waits():
    """b has 9 of room and holds r (4). If x (5) came first, z (5), for which q leaves c, could not.

    So z comes to b first, q leaves c, r comes to c and leaves b, and only then is there room for x.
    """
    old = a_layout(b=[a_resident("r", 4)], c=[a_resident("z", 5), a_resident("k", 1)])
    new = a_layout(
        b=[a_resident("x", 4), a_resident("z", 5)], c=[a_resident("r", 4), a_resident("k", 1)]
    )
    found = diff(old, new)
    assert not found.gaps
    assert steps(found)[0] == "load z b"


def test_a_swap_goes_over_a_third_device():
    """x and y (6 each) change places; neither fits beside the other, but c has room."""
    old = a_layout(a=[a_resident("x", 6)], b=[a_resident("y", 6)], c=[])
    new = a_layout(a=[a_resident("y", 6)], b=[a_resident("x", 6)], c=[])
    found = diff(old, new)
    assert not found.gaps
    assert len(found.steps) == 6
    assert [step.device for step in found.steps if step.note] == ["c"]


def test_a_swap_without_a_third_device_says_that_it_leaves_a_gap():
    old = a_layout(a=[a_resident("x", 6)], b=[a_resident("y", 6)])
    new = a_layout(a=[a_resident("y", 6)], b=[a_resident("x", 6)])
    found = diff(old, new)
    assert len(found.gaps) == 1
    assert "no replica" in found.gaps[0]
    assert len(found.steps) == 4


def test_a_variant_changes_in_place_when_both_fit():
    """4 and 4 beside the server's 1 are 9 of 10."""
    found = diff(a_layout(a=[a_resident("x")]), a_layout(a=[a_resident("x", instances=2)]))
    assert steps(found) == ["change x a"]


def test_a_variant_that_has_no_room_beside_the_old_goes_down_while_another_is_up():
    old = a_layout(a=[a_resident("x", 6)], b=[a_resident("x", 2)])
    new = a_layout(a=[a_resident("x", 7, instances=2)], b=[a_resident("x", 2)])
    assert steps(diff(old, new)) == ["unload x a", "load x a"]
    assert not diff(old, new).gaps
    alone = diff(a_layout(a=[a_resident("x", 6)]), a_layout(a=[a_resident("x", 7, instances=2)]))
    assert alone.gaps


def test_a_layout_that_cannot_be_reached_is_refused():
    with pytest.raises(InputError, match="a: the new layout puts more on it"):
        diff(a_layout(a=[]), a_layout(a=[a_resident("x", 12)]))


def test_a_change_of_rate_is_told_and_needs_no_step():
    slow = Layout((PlacedDevice("a", "T4", (Resident("x", "o", rate=1.0),)),))
    fast = Layout((PlacedDevice("a", "T4", (Resident("x", "o", rate=2.0),)),))
    found = diff(slow, fast)
    assert found.empty
    assert found.rates == (("x", "a", 1.0, 2.0),)


MODELS = "uvwxyz"


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Six models of given sizes on four devices of 10, none overfull."""
    devices: dict[str, list[Resident]] = {name: [] for name in "abcd"}
    for number, model in enumerate(MODELS):
        size = 2.0 + number
        for name in draw(st.sets(st.sampled_from("abcd"), max_size=2)):
            taken = sum(r.uses["memory"] for r in devices[name])
            if 1 + taken + size <= 10:
                instances = draw(st.integers(1, 2))
                devices[name].append(a_resident(model, size, instances))
    return a_layout(**devices)


@settings(max_examples=150)
@given(layouts(), layouts())
def test_every_step_is_safe_and_the_last_reaches_the_new_layout(old: Layout, new: Layout):
    """Memory is never exceeded; a model of both layouts is always up, unless a gap is told."""
    found = diff(old, new)
    up = {d.name: {r.model: r for r in d.residents} for d in old.devices}
    there = {m for residents in up.values() for m in residents}
    both = there & {r.model for d in new.devices for r in d.residents}
    without = set()
    for step in found.steps:
        residents = up[step.device]
        if step.action == "unload":
            del residents[step.model]
        else:
            beside = [*residents.values(), step.resident]  # a change holds both for a while
            assert 1 + sum(r.uses["memory"] for r in beside) <= 10
            residents[step.model] = step.resident
        without |= {m for m in both if not any(m in r for r in up.values())}
    assert {d: set(r) for d, r in up.items()} == {
        d.name: {r.model for r in d.residents} for d in new.devices
    }
    for device in new.devices:
        for resident in device.residents:
            assert up[device.name][resident.model].variant == resident.variant
    assert without == {gap.split()[0] for gap in found.gaps} & both
