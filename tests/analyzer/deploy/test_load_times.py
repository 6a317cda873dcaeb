"""How long a plan's steps take, by what was measured."""

from some_rows import a_measurement

from analyzer.deploy.load_times import expected_s
from placement.layout import PlacedDevice, Resident
from placement.layout.diff import Step


def test_each_step_takes_what_its_variants_loading_took():
    """A load reads from the disk, a change finds the files in memory; another type is not known."""
    m = a_measurement("bert")
    m.extra.update(load_cold_s=30.0, load_s=8.0, unload_s=0.5)
    resident = Resident("bert", "o", variant=m.variant)
    devices = [PlacedDevice("a", "Tesla T4", ()), PlacedDevice("b", "A100", ())]
    steps = [Step(action, "bert", "a", resident) for action in ("load", "change", "unload")]
    steps.append(Step("load", "bert", "b", resident))
    assert expected_s(steps, devices, [m]) == [30.0, 8.0, 0.5, None]
