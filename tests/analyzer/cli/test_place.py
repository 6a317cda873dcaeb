"""`import` and `place` from the shell's side, on the founding case (NVIDIA, 2020, table 2)."""

import json
from dataclasses import replace
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from analyzer.cli import cli
from analyzer.cli.options import PERCENT
from placement.layout import layout as layouts
from profiles.errors import InputError, ModelPlacerError, NoAnswerError

TABLE = Path(__file__).parents[3] / "examples" / "founding-case" / "profiles.csv"
GPU = ("--device", "16 GB GPU")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("founding") / "profiles.db"
    result = CliRunner().invoke(cli, ["import", str(TABLE), "--store", str(path)])
    assert result.exit_code == 0, result.output
    assert "9 measurements of 9 models and 1 baseline from" in result.stdout
    return str(path)


def place(store, *arguments):
    result = CliRunner().invoke(
        cli, ["place", "--store", store, *arguments, "--output-format", "json"]
    )
    if isinstance(result.exception, ModelPlacerError):
        raise result.exception
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("limits", "gpus"),
    [
        ("memory", 4),
        ("memory,utilization", 6),
        ("memory,memory_utilization", 5),
        ("memory,utilization,memory_utilization", 6),
    ],
)
def test_the_founding_case_is_proven(store, limits, gpus):
    """4 and 6 are the article's counts by hand; 5 is from a dynamic program over subsets."""
    answer = place(store, *GPU, "--limits", limits)
    assert (answer["status"], answer["value"], answer["bound"]) == ("optimal", gpus, gpus)
    assert len(answer["layout"]["devices"]) == gpus


@pytest.mark.parametrize(("limit", "gpus"), [("100%", 6), ("99%", 7), ("95%", 7), ("90%", 8)])
def test_a_limit_below_the_whole_needs_more_gpus(store, limit, gpus):
    """The six need a GPU at exactly 100 / 100, so that 99 % already forces a seventh."""
    limits = [f"--max-{name}={limit}" for name in ("memory", "utilization", "memory-utilization")]
    answer = place(store, *GPU, *limits)
    assert (answer["status"], answer["value"]) == ("optimal", gpus)


def test_the_binding_resource_is_told(store):
    """491 % of utilization, no pairs that fit but few: utilization alone needs six."""
    answer = place(store, *GPU)
    assert answer["binding"] == ["utilization"]
    assert answer["bounds"] == {"memory": 4, "utilization": 6, "memory_utilization": 5}
    assert any(
        "memory alone needs 4 (53.0 of 4 × 15.7 GB)" in line for line in answer["explanation"]
    )


def test_the_layout_is_written_and_holds(store, tmp_path):
    place(store, *GPU, "-o", str(tmp_path / "layout.yaml"))
    layout = layouts.load(tmp_path / "layout.yaml")
    assert layout.gpu_count == 6
    assert all(
        device.uses[name] <= limit * (1 + 1e-9)
        for device in layout.devices
        for name, limit in device.capacity.items()
    )


def test_demands_split_and_raise_the_hardware(store, tmp_path):
    """Twice the measured rate of one model takes a second replica of it."""
    demand = tmp_path / "demand.yaml"
    demand.write_text("models:\n  segmentation_ct_pancreas: {rate: 59.2}\n")
    answer = place(store, *GPU, "--demand", str(demand))
    replicas = [
        resident["rate"]
        for device in answer["layout"]["devices"]
        for resident in device["residents"]
        if resident["model"] == "segmentation_ct_pancreas"
    ]
    assert len(replicas) >= 2
    assert sum(replicas) >= 59.2 * (1 - 1e-9)


@pytest.mark.slow
def test_most_throughput_on_three_gpus_names_what_clashes(store):
    """Memory alone needs four, so that three hold all models under no shares."""
    with pytest.raises(NoAnswerError, match="Nothing fits"):
        place(store, *GPU, "--count", "3", "--objective", "max-throughput")
    result = CliRunner().invoke(
        cli,
        ["place", "--store", store, *GPU, "--count", "3", "--limits", "memory"],
    )
    assert "These cannot all hold" in result.stdout
    assert "1 more 16 GB GPU" in result.stdout


def test_the_frontier_never_falls(store):
    answer = place(store, *GPU, "--count", "6", "--objective", "max-throughput", "--frontier")
    values = [point["value"] for point in answer["frontier"]]
    assert values[:3] == [None, None, None]  # memory alone needs four
    assert values[3] < values[4] <= values[5] == pytest.approx(9)


def test_a_lost_device_moves_only_what_ran_there(store, tmp_path):
    path = tmp_path / "layout.yaml"
    place(store, *GPU, "--limits", "memory", "-o", str(path))
    before = layouts.load(path)
    lost = before.devices[-1]
    answer = place(
        store, *GPU, "--limits", "memory", "--current", str(path),
        "--exclude-device", lost.name, "--move-price", "0.01",
    )  # fmt: skip
    stayed = {(r.model, d.name) for d in before.devices[:-1] for r in d.residents}
    after = {(r["model"], d["name"]) for d in answer["layout"]["devices"] for r in d["residents"]}
    assert stayed <= after
    assert lost.name not in {d["name"] for d in answer["layout"]["devices"]}


def test_moves_that_cost_nothing_are_said(store, tmp_path):
    path = tmp_path / "layout.yaml"
    place(store, *GPU, "--limits", "memory", "-o", str(path))
    lost = layouts.load(path).devices[-1]
    current = ("--limits", "memory", "--current", str(path), "--exclude-device", lost.name)
    said = " ".join(place(store, *GPU, *current)["notes"])
    assert "as moves cost nothing: --move-price 0.01 or --repair" in said
    for price in (("--move-price", "0.01"), ("--repair",)):
        assert "moves cost nothing" not in " ".join(place(store, *GPU, *current, *price)["notes"])


def test_a_model_that_runs_nowhere_yet_is_no_move(store, tmp_path):
    """One model runs; the others come to it, and none has to leave a device for that."""
    layout = layouts.loads(yaml.safe_dump(place(store, *GPU, "--limits", "memory")["layout"]))
    first = replace(layout.devices[0], residents=layout.devices[0].residents[:1])
    layouts.save(replace(layout, devices=(first,)), tmp_path / "one.yaml")
    grown = place(store, *GPU, "--limits", "memory", "--current", str(tmp_path / "one.yaml"))
    there = {d["name"]: {r["model"] for r in d["residents"]} for d in grown["layout"]["devices"]}
    moved = first.residents[0].model not in there.get(first.name, set())
    assert ("1 of 9 replicas are not where" in " ".join(grown["notes"])) == moved
    assert "of 9 replicas" not in " ".join(grown["notes"]) or moved


def test_a_model_that_its_neighbours_slow_is_named(tmp_path):
    """f has no rate and reaches 1 - 0.5 · 0.4 = 80 % beside r, which carries 40 of 100. With
    --max-slowdown 10% each has a device of its own."""
    busy = {"throughput": 100, "device_type": "t4", "needs": {}, "sensitivity": 1.0}
    problem = {
        "resources": [{"name": "memory"}],
        "types": [{"name": "t4", "capacity": {}}],
        "pools": [{"name": "gpu", "device_type": "t4", "count": 2}],
        "models": [
            {"name": "r", "rate": 40, "options": [{"name": "k", "busy": 0.5, **busy}]},
            {"name": "f", "options": [{"name": "k", "busy": 0.3, **busy}]},
        ],
    }
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(problem))
    answer = place("none.db", "--problem", str(path))
    assert answer["value"] == 1
    assert "f on gpu-1: reaches 80% of its measured load beside its neighbours." in answer["notes"]
    answer = place("none.db", "--problem", str(path), "--max-slowdown", "10%")
    assert answer["value"] == 2
    assert not any("reaches" in note for note in answer["notes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repair", *GPU], "--current"),
        (["--device", "Tesla T5"], "Did you mean 'Tesla T4'"),
        (["--limits", "memroy", *GPU], "Did you mean 'memory'"),
        (["--models", "classification_brest", *GPU], "Did you mean 'classification_breast'"),
        (["--fleet", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["--max-moves", "1", *GPU], "--current"),
        (["--store", "nowhere.db"], "no such profile store"),
        (["--problem", "nowhere.json"], "No such file"),
        (["--objective", "max-throughput", *GPU], "--count"),
    ],
)
def test_bad_input_is_named(store, arguments, message):
    with pytest.raises(InputError, match=message):
        place(store, *arguments)


def test_a_fleet_of_a_type_that_was_never_measured_is_no_answer(store):
    with pytest.raises(NoAnswerError, match="was measured on 16 GB GPU, but on no device type"):
        place(store, "--device", "Tesla T4")


def test_a_model_that_fits_nowhere_is_named_with_the_largest_device(store, tmp_path):
    """The liver model needs 10.74 GB beside the server's 0.31."""
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(yaml.safe_dump([{"device": "16 GB GPU", "memory": "8GB"}]))
    result = CliRunner().invoke(cli, ["place", "--store", store, "--fleet", str(fleet)])
    assert isinstance(result.exception, NoAnswerError)
    assert (
        "segmentation_ct_liver fits on no device: it needs at least 10.74 GB memory"
        in result.stdout
    )
    assert "the largest device is 16 GB GPU with 7.69 GB memory" in result.stdout


@pytest.mark.parametrize("given", ["80%", "80", "0.8", 0.8, 80])
def test_a_limit_is_a_percentage_or_a_part(given):
    assert PERCENT.convert(given, None, None) == pytest.approx(0.8)


@pytest.mark.parametrize("given", ["130%", "0", "-5%", "half", "nan"])
def test_a_limit_outside_0_to_100_percent_is_refused(given):
    with pytest.raises(click.BadParameter, match=r"not a percentage in \(0, 100\]"):
        PERCENT.convert(given, None, None)


@pytest.mark.parametrize("seed", ["-1", "1000000000000"])
def test_a_seed_that_no_generator_takes_is_refused(store, seed):
    result = CliRunner().invoke(cli, ["place", "--store", store, *GPU, "--seed", seed])
    assert result.exit_code == 2
    assert "--seed" in result.stderr
