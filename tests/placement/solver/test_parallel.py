import random
import threading
import time
from dataclasses import replace

import psutil
import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules, solve
from placement.layout import check
from placement.layout.prediction import build_layout
from placement.solver.improve import restore
from placement.solver.incumbent import Incumbent
from placement.solver.instance import compile_instance
from placement.solver.parallel import improve_on
from placement.solver.parts import build, deal, join, placed_in, whole
from placement.solver.relaxation import relax
from placement.solver.result import Deadline
from placement.solver.start import construct
from profiles.errors import InputError

HOSTS = 6


def a_problem(number, **settings):
    """Models with rates on two GPU types; every third has two replicas."""
    rng = random.Random(number)
    models = []
    for i in range(number):
        memory = rng.uniform(1, 9)
        options = tuple(
            Option(
                f"b{batch}",
                kind,
                {"memory": round(memory * (1 + batch / 10), 2), "utilization": 90.0},
                round(50 * speed * batch**0.5, 1),
            )
            for kind, speed in (("small", 1.0), ("large", 3.0))
            for batch in (1, 4)
        )
        rate = round(rng.uniform(3, 120), 1)
        models.append(Model(f"m{i}", options, rate=rate, min_replicas=2 if i % 3 == 0 else 1))
    return PlacementProblem(
        tuple(models),
        (
            PoolType("small", {"memory": 16, "utilization": 100}),
            PoolType("large", {"memory": 40, "utilization": 100}),
        ),
        (Pool("small", "small", price=0.5), Pool("large", "large", price=1.2)),
        (Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        **settings,
    )


def on_hosts(number):
    """The same on six hosts of each type, with models that spread over them."""
    problem = a_problem(number)
    pools = tuple(
        Pool(f"{kind}{h}", kind, count, price=price, host=f"{kind}-host{h}")
        for kind, price, count in (("small", 0.5, 8), ("large", 1.2, None))
        for h in range(HOSTS)
    )
    apart = tuple((f"m{i}", f"m{i + 1}", f"m{i + 2}") for i in range(0, number - 3, 7))
    spread = tuple(f"m{i}" for i in range(0, number, 3))
    together = (("m3", "m4"),)
    rules = Rules(spread=spread, apart=apart, together=together, forbidden=(("m5", "large1-1"),))
    return replace(problem, pools=pools, rules=rules)


def limited(number):
    """Few GPUs of the small type, and not many in all."""
    problem = a_problem(number)
    pools = (replace(problem.pools[0], count=number // 4), problem.pools[1])
    return replace(problem, pools=pools, max_devices=number)


def running(number):
    """Every model runs on a large GPU; sixty replicas may move."""
    problem = a_problem(number)
    large = replace(problem, pools=(problem.pools[1],))
    current = tuple((r.model, r.seat) for r in a_layout(large).replicas())
    return replace(problem, current=current, max_moves=60)


def a_layout(problem):
    """Inserted in the order of the models: much is left to improve."""
    instance = compile_instance(problem)
    work = Incumbent(instance, relax(instance, Deadline(20)), free_devices=False)
    if problem.current:
        from placement.solver.running import stay

        stay(work, Deadline(20))
    assert construct(work, work.lacking().tolist(), Deadline(60))
    assert not len(work.lacking())
    return work


def faults(work):
    problem = work.instance.problem
    return check.violations(problem, build_layout(problem, work.replicas()))


CASES = {"plain": a_problem, "hosts": on_hosts, "limited": limited, "running": running}


@pytest.mark.parametrize("case", CASES)
def test_each_part_carries_its_share_and_all_parts_make_the_layout(case):
    work = a_layout(CASES[case](60))
    before, kept = work.cost, sorted(placed_in(work))
    parts = deal(work, 3, random.Random(1))
    layouts = [build(work.instance, work.relaxation, p, free=False) for p in parts]
    assert [len(part.lacking()) for part in layouts] == [0, 0, 0]
    assert sum(part.price for part in layouts) == pytest.approx(work.price)
    assert sorted(what for part in parts for what in part.placed) == kept
    work.clear()
    restore(work, join(work, [what for part in parts for what in part.placed]))
    assert work.cost == pytest.approx(before)
    assert sorted(placed_in(work)) == kept


def searching():
    """The processes that search for this one."""
    children = psutil.Process().children()
    return [c for c in children if "placement.solver.worker" in c.cmdline()]


def test_parts_open_no_gpu_twice_and_no_more_than_there_are():
    """Nine small GPUs of fifteen are in use: the parts have the other six, each one once."""
    problem = limited(60)
    work = a_layout(problem)
    used = {gpu.name for gpu in work.known.values() if not gpu.free}
    opened = []
    for part in deal(work, 2, random.Random(3)):
        mine = build(work.instance, work.relaxation, part, free=False)
        small = next(c for c, cls in enumerate(problem.pools) if cls.name == "small")
        while (gpu := mine.any_closed(small)) is not None:
            mine.open_seat(gpu, mine.instance.classes[small].type, gpu.name)
            opened.append(gpu.name)
    assert len(set(opened)) == len(opened)
    assert set(opened) | {n for n in used if n.startswith("small")} == {
        f"small-{n}" for n in range(1, 16)
    }


def test_moves_and_devices_are_dealt_out():
    problem = replace(running(60), max_devices=200)
    work = a_layout(problem)
    parts = deal(work, 5, random.Random(0))
    assert sum(part.moves for part in parts) == 60 - work.moves
    assert sum(part.devices for part in parts) == 200 - work.used
    assert (whole(work).moves, whole(work).devices) == (60 - work.moves, 200 - work.used)


def test_devices_of_one_host_are_one_part_where_models_spread():
    parts = deal(a_layout(on_hosts(60)), 2, random.Random(0))
    pools = [{what[1] for what in part.placed} for part in parts]
    assert not pools[0] & pools[1]
    one = replace(a_problem(30), rules=Rules(spread=("m0",)))
    one = replace(one, pools=(replace(one.pools[0], host="x"), replace(one.pools[1], host="x")))
    one = replace(one, models=tuple(replace(m, min_replicas=1) for m in one.models))
    assert deal(a_layout(one), 2, random.Random(0)) is None


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("number", [40, 200])
def test_what_two_processes_improve_holds(case, number):
    """40 models are improved as a whole, 200 in parts."""
    work = a_layout(CASES[case](number))
    assert faults(work) == []
    before = work.cost
    settings = {"patience": 10**9, "allowed_moves": work.most_moves}
    improve_on(2, work, Deadline(6), 0, **settings)
    improve_on(2, work, Deadline(60), 0, target=before - 0.01, **settings)
    assert work.cost < before
    assert faults(work) == []
    assert not searching()


def test_one_worker_gives_the_same_answer_twice():
    problem = a_problem(12)
    first, second = (solve(problem, 120, seed=3, workers=1) for _ in range(2))
    assert first.status == "optimal"
    assert first.layout == second.layout


def test_at_least_one_worker_is_needed():
    with pytest.raises(InputError, match="workers is 0"):
        solve(a_problem(2), workers=0)


def test_a_stop_ends_the_processes_at_once():
    work = a_layout(a_problem(160))
    cost = work.cost
    deadline = Deadline(120)
    search = threading.Thread(
        target=improve_on, args=(2, work, deadline, 0), kwargs={"patience": 10**9}
    )
    search.start()
    while len(searching()) < 2:
        time.sleep(0.05)
    deadline.stop()
    search.join(20)
    assert not search.is_alive()
    assert searching() == []
    assert work.cost <= cost
    assert faults(work) == []
