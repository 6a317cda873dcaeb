"""The least hardware: bound, start, improve, prove."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, inf

from placement.layout import check
from placement.layout.prediction import build_layout
from placement.layout.replica import Replica
from placement.problem import Model, PlacementProblem, Rules
from placement.problem.fleet import Places, Unit, highest_number, units, wanted
from placement.problem.numbers import common_unit, fraction
from placement.solver import exact
from placement.solver.best import GRAIN, Best
from placement.solver.counts import count_devices
from placement.solver.improve import improve
from placement.solver.incumbent import Incumbent
from placement.solver.instance import Instance, compile_instance, exclusive, owns, with_own_slots
from placement.solver.packing.reduction import is_packing, is_plain, pack
from placement.solver.parallel import improve_on
from placement.solver.plan import MOST, by_share, cheapest, plan
from placement.solver.plan import pack as pack_plan
from placement.solver.relaxation import CLOSE, Relaxation, relax
from placement.solver.result import Deadline, Status
from placement.solver.running import stay
from placement.solver.shares import settle
from placement.solver.start import by_value, construct, seat_replicas

EXACT = 40_000  # 0/1 variables up to which the compact model is asked at all
SMALL = 2_500  # up to which it is asked before a long search
PACKING = 0.95  # part of the time for a problem that is a packing
RELAXED = 0.7  # part of the time for a packing that only relaxes the problem
EFFORT = 2.0  # CP-SAT's deterministic seconds for that
ASKED = 0.6  # part of the time for the compact model, where a layout is known
ALONE = 2_000  # items up to which every device type alone is tried
COUNTED = 0.5  # part of the time for counts of devices
STAYING = 0.4  # part of the time for what runs now
BUILT = 2_500  # 0/1 variables of the compact model for each second left
FEW = 60  # items from which plans are packed
PLANNING = 0.12  # part of the time for a plan, and for its packing
PLANNED = 0.5  # for the packing of so many that other searches find little
PROOF = 1e-7  # a bound of the feasibility problem that no rounding explains
COMPLETE = 1e-3  # of the penalty for a demand: less is paid where all are met
CROWD = 0.1  # part of the time for models that are pinned to one place
GLANCE = 1_500  # steps of the search before the compact model is asked


@dataclass(frozen=True)
class Answer:
    """How the search ended; the layout is the best that was offered."""

    status: Status
    bound: float


def least_hardware(
    best: Best, deadline: Deadline, seed: int, workers: int, *, first: bool = False
) -> Answer:
    """Search; layouts are offered to `best`. With `first` any layout will do."""
    problem = best.problem
    if is_packing(problem):
        packed = pack(
            problem, deadline.part(PACKING), seed, lambda found: best.offer(found, "best fit")
        )
        best.offer(packed.replicas, packed.method)
        if packed.status == "infeasible":
            return Answer("infeasible", packed.bound)
        if not _done(best, packed.bound) and deadline.left_s > 0:
            return _small(best, deadline, packed.bound, seed, workers)
        return _answer(best, packed.bound)
    before_s = deadline.left_s
    instance = compile_instance(problem)
    stated_s = before_s - deadline.left_s  # to go over all models once takes about so long
    if any(
        item.rows.start == item.rows.stop and (item.replicas or item.rate > 0)
        for item in instance.items
    ):
        return Answer("infeasible", 0.0)
    # Prices that alone decide a plan have to be closer.
    close = CLOSE if len(instance.items) <= MOST else CLOSE / 10
    relaxation = relax(instance, deadline.part(0.2), close=close)
    least_cost = relaxation.bound
    slotted = with_own_slots(instance)
    if slotted is not None:
        least_cost = max(least_cost, relax(slotted, deadline.part(0.1)).bound)
    bound = next_price(problem, least_cost)
    if (first and refuted(instance, deadline)) or crowded(problem, deadline, seed):
        return Answer("infeasible", 0.0)
    if exclusive(instance) and not first:
        counted = Incumbent(instance, relaxation, free_devices=False)
        least, found = count_devices(instance, counted, deadline.part(COUNTED), seed)
        if least == inf:
            return Answer("infeasible", 0.0)
        bound = max(bound, least)
        if found and best.holds(counted.replicas()):  # rules are not counted
            best.offer(counted.replicas(), "counts of devices")
        if _done(best, bound):
            return _answer(best, bound)
    work = Incumbent(instance, relaxation, free_devices=False)
    work = _start(best, work, deadline, bound, seed, stated_s, first=first)
    if first and best.value is None:
        complete = COMPLETE * work.must
        allowed = problem.max_moves
        improve(work, deadline.part(0.7), seed, target=complete, allowed_moves=allowed)
        _offer(best, work, "large neighbourhood search")
    if best.value is None and not first and refuted(instance, deadline):
        return Answer("infeasible", 0.0)
    if first and best.value is not None:
        return Answer("feasible", bound)
    if _done(best, bound):
        return _answer(best, bound)
    fleet = _fleet(problem, best.value)
    if fleet is not None and exact.size(problem, fleet) <= SMALL:
        status, bound = _prove(best, fleet, deadline.part(0.4), bound, seed, EFFORT, 1)
        if status is not None:
            return Answer(status, bound)
    if is_plain(problem):
        packed = pack(problem, deadline.part(RELAXED), seed)
        if packed.status == "infeasible":
            return Answer("infeasible", 0.0)
        bound = max(bound, packed.bound)
        if packed.replicas is not None:
            _from_packing(best, instance, relaxation, packed.replicas, deadline, bound, seed)
        if _done(best, bound):
            return _answer(best, bound)
    return _search(best, work, deadline, bound, seed, workers)


def refuted(instance: Instance, deadline: Deadline) -> bool:
    """Whether the relaxation proves that there is no layout at all."""
    counted = any(cls.count is not None for cls in instance.classes)
    limits = instance.problem.max_devices, instance.problem.max_moves
    if not counted and limits == (None, None):
        return False
    return relax(instance, deadline.part(0.3), feasibility=True).bound > PROOF


def crowded(problem: PlacementProblem, deadline: Deadline, seed: int = 0) -> frozenset[str]:
    """Models that are pinned to one pool or device that cannot hold them; empty if none are known.

    Pools differ in rules alone as far as the relaxation knows, so that it does not see this.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for rule, place in problem.rules.pins:
        places[rule].add(place)
    at: dict[str, list[Model]] = defaultdict(list)
    for model in problem.models:
        pinned = places[model.name]
        if len(pinned) == 1:
            at[next(iter(pinned))].append(model)
    for place, models in at.items():
        if len(models) == len(problem.models):
            continue
        names = frozenset(model.name for model in models)
        alone = only(problem, names, place)
        if alone is None:
            continue
        part = deadline.part(CROWD)
        if least_hardware(Best(alone, part), part, seed, 1, first=True).status == "infeasible":
            return names
    return frozenset()


def only(problem: PlacementProblem, names: frozenset[str], place: str) -> PlacementProblem | None:
    """The models by themselves on the pool or device; None where that is a part of a device."""
    pools = tuple(
        pool if pool.name == place else replace(pool, name=place, count=1)
        for pool in problem.pools
        if pool.name == place or owns(pool, place)
    )
    if len(pools) != 1:
        return None
    return replace(
        problem,
        models=tuple(model for model in problem.models if model.name in names),
        pools=pools,
        rules=Rules(),
        current=(),
        max_moves=None,
        max_devices=None,
        repair=False,
    )


def _small(best: Best, deadline: Deadline, bound: float, seed: int, workers: int) -> Answer:
    """What figures too fine for the packing's integers left open."""
    fleet = _fleet(best.problem, best.value)
    if fleet is not None and exact.size(best.problem, fleet) <= SMALL:
        status, bound = _prove(best, fleet, deadline, bound, seed, None, workers)
        if status is not None:
            return Answer(status, bound)
    return _answer(best, bound)


def next_price(problem: PlacementProblem, bound: float) -> float:
    """The bound, raised to the next amount that prices and moves can add up to."""
    prices = {fraction(pool.price) for pool in problem.pools if pool.count != 0}
    if problem.current:
        prices.add(fraction(problem.move_price))
    prices.discard(Fraction(0))
    if not prices:
        return 0.0
    step = common_unit(prices)
    # The bound is safe as it stands: no tolerance is taken off.
    reached = ceil(Fraction(bound) / step) * step
    if len(prices) <= 6 and (reached + min(prices)) / step < 20_000:
        reached = _attainable(sorted(int(p / step) for p in prices), int(reached / step)) * step
    return float(reached)


def _attainable(prices: list[int], least: int) -> int:
    """The least sum of prices, each taken any number of times, that is not below `least`."""
    most = least + prices[0]
    reach = 1  # bit n: n can be paid
    mask = (1 << (most + 1)) - 1
    for price in prices:
        shift = price
        while shift <= most:
            reach |= (reach << shift) & mask
            shift *= 2
    left = reach >> least
    return least + (left & -left).bit_length() - 1


def _start(
    best: Best,
    work: Incumbent,
    deadline: Deadline,
    bound: float,
    seed: int,
    stated_s: float,
    *,
    first: bool,
) -> Incumbent:
    """The layout that runs, repaired; or one built from nothing: whichever is better."""
    problem = best.problem
    if best.replicas is not None:
        seat_replicas(work, best.replicas)
    elif best.start:
        seat_replicas(work, best.start)
        _repair(best, work, deadline, bound, seed)
    elif problem.current:
        stay(work, deadline.part(STAYING))
        _offer(best, work, "the current layout")
        _repair(best, work, deadline, bound, seed)
    if not problem.current or problem.max_moves is None:
        fresh = work
        if problem.current:
            fresh = Incumbent(work.instance, work.relaxation, free_devices=False)
        packed = None
        if len(work.instance.items) > MOST:  # a packing is there sooner
            packed = _packed(fresh, deadline, seed)
        if packed is None:
            work = _inserted(best, work, fresh, deadline)
            if first and best.value is not None:
                return work
            for kind in sorted(set(work.instance.type_of.tolist())):
                alone = _alone(work, kind, deadline)
                if alone is not None and alone.cost < work.cost:
                    work = alone
                    _offer(best, work, f"{work.instance.types[kind]} alone")
            if best.value is None or deadline.left_s > stated_s:
                packed = _packed(work, deadline, seed)
        if packed is not None and packed.cost < work.cost:
            work = packed
            _offer(best, work, "packed plan")
    return work


def _inserted(best: Best, work: Incumbent, fresh: Incumbent, deadline: Deadline) -> Incumbent:
    """The better of two orders of insertion, or `work` where it is better still."""
    started_s = deadline.left_s
    for order, opening in ((by_share(fresh), 1.1), (by_value(fresh), 1.05)):
        if not construct(fresh, order, deadline, opening=opening):
            return work if work.cost <= fresh.cost else fresh
        _offer(best, fresh, "insertion by dual prices")
        if fresh is work or fresh.cost < work.cost:
            work = fresh
        if deadline.left_s < 3 * (started_s - deadline.left_s):
            break
        fresh = Incumbent(work.instance, work.relaxation, free_devices=False)
    return work


def _alone(work: Incumbent, kind: int, deadline: Deadline) -> Incumbent | None:
    """Every model on devices of one type, as far as it runs there."""
    items = work.instance.items
    if len(items) > ALONE or len(work.instance.types) < 2 or deadline.left_s <= 0:
        return None
    runs = [bool((work.instance.type_of[item.rows] == kind).any()) for item in items]
    alone = Incumbent(work.instance, work.relaxation, free_devices=False)
    kinds = {i: kind for i, there in enumerate(runs) if there}
    construct(alone, by_value(alone), deadline.part(0.1), kinds=kinds)
    return None if len(alone.lacking()) else alone


def _packed(work: Incumbent, deadline: Deadline, seed: int) -> Incumbent | None:
    """A plan, packed, where models have rates and are many."""
    items = work.instance.items
    if len(items) < FEW or not any(model.rate for i in items for _, model in i.members):
        return None
    planned = plan(work, 0.0, deadline.part(PLANNING))
    part = PLANNING
    if planned is None:
        planned, part = cheapest(work), PLANNED
    packed = Incumbent(work.instance, work.relaxation, free_devices=False)
    if pack_plan(packed, planned, deadline.part(part), seed, first=False):
        return packed
    return None


def _repair(best: Best, work: Incumbent, deadline: Deadline, bound: float, seed: int) -> None:
    """Insert what the current layout leaves unmet, with as few moves as may be."""
    allowed = best.problem.max_moves
    if len(work.lacking()):
        lacking = set(work.lacking().tolist())
        missing = [i for i in by_value(work) if i in lacking]
        construct(work, missing, deadline)
        if (allowed is not None and work.moves > allowed) or len(work.lacking()):
            improve(work, deadline.part(0.3), seed, target=bound, allowed_moves=allowed)
    _offer(best, work, "the current layout, repaired")


def _offer(best: Best, work: Incumbent, method: str) -> None:
    allowed = best.problem.max_moves
    if len(work.lacking()) or (allowed is not None and work.moves > allowed):
        return
    if best.value is None or best.is_better(work.cost, best.value):
        best.offer(work.replicas(), method)


def _from_packing(
    best: Best,
    instance: Instance,
    relaxation: Relaxation,
    replicas: tuple[Replica, ...],
    deadline: Deadline,
    bound: float,
    seed: int,
) -> None:
    """The packing as it is, or what is left of it when rules are heeded, repaired."""
    if best.holds(replicas):  # rules may be in its way
        best.offer(replicas, "packing")
    if _done(best, bound):
        return
    work = Incumbent(instance, relaxation, free_devices=False)
    seat_replicas(work, replicas)
    lacking = set(work.lacking().tolist())
    construct(work, [i for i in by_value(work) if i in lacking], deadline)
    allowed = best.problem.max_moves
    improve(work, deadline.part(0.5), seed, target=bound, allowed_moves=allowed)
    _offer(best, work, "packing, repaired")


def _search(
    best: Best, work: Incumbent, deadline: Deadline, bound: float, seed: int, workers: int
) -> Answer:
    """Neighbourhoods and the compact model in turn."""
    problem = best.problem
    allowed = problem.max_moves
    improve(work, deadline.part(0.3), seed, target=bound, patience=GLANCE, allowed_moves=allowed)
    _offer(best, work, "large neighbourhood search")
    if _done(best, bound):
        return _answer(best, bound)
    fleet = _fleet(problem, best.value)
    number = exact.size(problem, fleet) if fleet is not None else EXACT + 1
    if fleet is not None and number <= min(EXACT, BUILT * deadline.left_s):
        hard = number > SMALL
        if hard and best.value is not None:
            part = deadline.part(0.4)
            improve_on(workers, work, part, seed + 1, target=bound, allowed_moves=allowed)
            _offer(best, work, "large neighbourhood search")
            if _done(best, bound):
                return _answer(best, bound)
            fleet = exact.enough(problem, fleet, best.value)
        status, bound = _prove(best, fleet, deadline, bound, seed, None, workers)
        if status is not None:
            return Answer(status, bound)
    if deadline.left_s > 0:
        improve_on(
            workers, work, deadline, seed + 2,
            target=bound, patience=10**9, allowed_moves=allowed,
        )  # fmt: skip
        _offer(best, work, "large neighbourhood search")
    return _answer(best, bound)


def _fleet(problem: PlacementProblem, value: float | None) -> list[Unit] | None:
    """The devices that the compact model names; None where these are far too many."""
    if _least_size(problem, value) > EXACT:
        return None
    most = wanted(problem)
    if value is not None and all(pool.count is None and pool.price > 0 for pool in problem.pools):
        cheapest = min((pool.price for pool in problem.pools), default=1.0)
        most = min(most, max(int(value / cheapest + 1e-9), highest_number(problem)) + 1)
    if most * len(problem.pools) > EXACT:
        return None
    fleet = units(problem, most)
    return fleet if value is None else exact.enough(problem, fleet, value)


def _least_size(problem: PlacementProblem, value: float | None) -> float:
    """About as many variables as the compact model has at least, before anything is made of it."""
    copies = sum(model.count for model in problem.models)
    named: dict[str, float] = defaultdict(float)
    for pool in problem.pools:
        most = float(copies if pool.count is None else pool.count)
        if value is not None and pool.price > 0:
            most = min(most, value / pool.price)
        for kind in {pool.device_type, *(kind for p in pool.partitions for kind in p)}:
            named[kind] += most
    return sum(
        model.count * sum(named[kind] for kind in {o.device_type for o in model.options})
        for model in problem.models
    )


def _prove(
    best: Best,
    fleet: list[Unit],
    deadline: Deadline,
    bound: float,
    seed: int,
    effort: float | None,
    workers: int,
) -> tuple[Status | None, float]:
    """Ask the compact model for something better, until there is nothing."""
    problem = best.problem
    places = Places(problem)
    rounds = 0
    forbidden: set[tuple[str, frozenset[tuple[str, int]]]] = set()
    while deadline.left_s > 0:
        rounds += 1
        value = best.value
        part = deadline.part(ASKED) if value is not None else deadline
        found = exact.search(
            problem,
            fleet,
            part,
            seed + rounds,
            better_than=None if value is None else _better(value),
            at_least=Fraction(bound) if bound else None,
            forbidden=forbidden,
            workers=workers,
            effort=effort,
        )
        if found.status == "infeasible":
            if value is None:
                return "infeasible", 0.0
            return "optimal", value
        if found.bound is not None:
            bound = max(bound, float(found.bound)) if value is None else bound
        if found.status == "unknown":
            return None, bound
        kinds = {r.seat: places.find(r.seat).device_type for r in found.replicas}  # type: ignore[union-attr]
        settled = settle(problem, kinds, found.replicas)
        if settled is None:
            return None, bound
        if not best.offer(settled, "CP-SAT"):
            faulty = _faulty(problem, settled)
            if not faulty:
                return None, bound
            forbidden |= faulty
            continue
        if found.status == "optimal":
            return "optimal", best.value or 0.0
        if _done(best, bound):
            return "optimal", bound
        fleet = exact.enough(problem, fleet, best.value or 0.0)
    return None, bound


def _faulty(
    problem: PlacementProblem, replicas: tuple[Replica, ...]
) -> set[tuple[str, frozenset[tuple[str, int]]]]:
    """Residents that the checker refuses on one device, as (model, option), by device type."""
    chosen: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for replica in replicas:
        chosen[replica.seat].add((replica.model, replica.k))
    return {
        (device.device_type, frozenset(chosen[device.name]))
        for device in build_layout(problem, replicas).devices
        if check.device_violations(problem, device)
    }


def _better(value: float) -> Fraction:
    """A price that is lower by more than what is told apart."""
    return Fraction(value) - Fraction(GRAIN) * Fraction(max(1.0, abs(value)))


def _done(best: Best, bound: float) -> bool:
    return best.value is not None and not best.is_better(bound, best.value)


def _answer(best: Best, bound: float) -> Answer:
    if best.value is None:
        return Answer("unknown", bound)
    if _done(best, bound):
        return Answer("optimal", best.value)
    return Answer("feasible", bound)
