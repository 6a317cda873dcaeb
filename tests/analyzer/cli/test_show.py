"""`show` and the other commands that read a store: withdrawn rows, damage, places only to read."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from command_line import run
from some_rows import a_colocation, a_measurement
from unprivileged import as_nobody

from analyzer.cli import cli
from profiles.environment import Environment
from profiles.measurement import Baseline, Measurement
from profiles.store import ProfileStore


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "profiles.db"
    with ProfileStore(path) as opened:
        opened.add_baseline(Baseline("Tesla T4", Environment(triton="2.51.0"), 300_000_000))
        for model in ("bert", "gpt"):
            for concurrency in (1, 2):
                opened.add(a_measurement(model, concurrency))
        opened.add_colocations([a_colocation()])
    return path


def show(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["show", "--store", str(store), *arguments])


def points(store: Path, *arguments: str) -> list[tuple[str, int]]:
    document = json.loads(show(store, *arguments, "--output-format", "json").stdout)
    return [(m["variant"]["model"], m["load"]["concurrency"]) for m in document["measurements"]]


def ids(store: Path, model: str) -> list[str]:
    with ProfileStore(store, read_only=True) as opened:
        rows = opened.rows()
    return [r.id for r in rows if isinstance(r.what, Measurement) and r.what.model == model]


def test_a_row_is_withdrawn_and_restored_by_the_beginning_of_its_identifier(store: Path):
    (first, _) = ids(store, "bert")
    done = show(store, "--withdraw", first[:8], "--reason", "the GPU was hot")
    assert done.exit_code == 0, done.output
    assert f"1 of 1 rows withdrawn:\n{first[:8]}  bert" in done.stdout
    assert points(store) == [("bert", 2), ("gpt", 1), ("gpt", 2)]
    history = show(store, "--history").stdout
    assert "withdrawn: the GPU was hot" in history
    assert len(points(store, "--history")) == 4
    assert show(store, "--restore", first[:8]).exit_code == 0
    assert len(points(store)) == 4
    assert "withdrawn" not in show(store, "--history").stdout


def test_all_rows_of_a_model_are_withdrawn_at_once_its_colocations_too(store: Path):
    done = show(store, "--models", "bert", "--withdraw", "all")
    assert done.stdout.startswith("3 of 3 rows withdrawn:")
    assert {model for model, _ in points(store)} == {"gpt"}
    again = show(store, "--models", "bert", "--withdraw", "all")
    assert again.stdout.startswith("0 of 3 rows withdrawn:")
    placed = run("place", "--store", store, "--device", "Tesla T4", cwd=store.parent)
    assert placed.returncode == 0, placed.stderr
    assert "bert" not in placed.stdout
    assert show(store, "--models", "bert", "--restore", "all").stdout.startswith("3 of 3 rows")
    assert len(points(store)) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--withdraw", "nope"], "no row has the identifier 'nope'"),
        (["--withdraw", "all"], "`all` needs --models"),
        (["--withdraw", ""], "names nothing"),
        (["--withdraw", "a", "--restore", "a"], "Give one of --withdraw and --restore at a time"),
        (["--history", "--salvage", "new.db"], "Give one of --history and --salvage at a time"),
        (["--reason", "x"], "--reason is that of --withdraw or --restore"),
        (["--models", "brt", "--withdraw", "all"], "Did you mean 'bert'"),
        (["--salvage", "profiles.db"], "is there already"),
    ],
)
def test_what_cannot_be_done_is_said(store: Path, arguments: list[str], said: str):
    done = run("show", "--store", store, *arguments, cwd=store.parent)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(points(store)) == 4


def test_show_says_what_place_leaves_out(store: Path):
    with ProfileStore(store) as opened:
        opened.add(replace(a_measurement("bert"), model_digest="retrained"))
    assert "`place`: bert: 2 measurements" in show(store).stdout


@pytest.mark.parametrize(
    "command",
    [
        ["show", "--store", "bad.db"],
        ["show", "--store", "bad.db", "--history"],
        ["show", "--store", "bad.db", "--withdraw", "a"],
        ["place", "--store", "bad.db", "--device", "Tesla T4"],
        ["merge", "bad.db", "-o", "merged.db"],
    ],
)
def test_every_reader_says_that_a_store_is_damaged(store: Path, command: list[str]):
    """The page in the middle of the file is noise; 200 rows of 1.5 kB lie around it."""
    with ProfileStore(store) as opened:
        opened.add_all(a_measurement("bert", n) for n in range(3, 200))
    content = bytearray(store.read_bytes())
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    (store.parent / "bad.db").write_bytes(content)
    done = run(*command, cwd=store.parent)
    assert done.returncode == 2, done.stderr
    assert "bad.db: the store is damaged" in done.stderr
    assert "model-placer show --store bad.db --salvage NEW.db" in done.stderr
    assert "Traceback" not in done.stderr
    saved = run("show", "--store", "bad.db", "--salvage", "new.db", cwd=store.parent)
    assert saved.returncode == 0, saved.stderr
    assert "known to be lost" in saved.stdout
    assert len(points(store.parent / "new.db")) > 190


@pytest.fixture
def read_only(store: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="model-placer-test-"))
    shutil.copyfile(store, folder / "profiles.db")
    (folder / "profiles.db").chmod(0o444)
    folder.chmod(0o555)
    yield folder / "profiles.db"
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["show", "--history"],
        ["show", "--colocation"],
        ["place", "--device", "Tesla T4"],
    ],
)
def test_a_store_where_nothing_may_be_written_is_read(
    store: Path, read_only: Path, command: list[str]
):
    """The command runs once before as root does, so that all its modules are there."""
    expected = CliRunner().invoke(cli, [*command, "--store", str(store)])
    assert expected.exit_code == 0, expected.output

    def work() -> tuple[int, str]:
        done = CliRunner().invoke(cli, [*command, "--store", str(read_only)])
        return done.exit_code, done.stdout

    assert as_nobody(work) == (0, expected.stdout)
    assert [path.name for path in read_only.parent.iterdir()] == ["profiles.db"]


def test_a_store_where_nothing_may_be_written_takes_no_withdrawal(read_only: Path):
    (first, _) = ids(read_only, "bert")
    show(read_only)  # all modules are there

    def work() -> str:
        return str(show(read_only, "--withdraw", first).exception)

    assert "may this user write to it" in as_nobody(work)


def test_a_name_that_no_directory_can_have_is_not_imported(tmp_path: Path):
    header = "model,device_type,throughput,memory_mb\n"
    (tmp_path / "t.csv").write_text(f"{header}bert,t4,1,1\n../../etc,t4,1,1\n")
    strict = run("import", "t.csv", "--strict", cwd=tmp_path)
    assert strict.returncode == 2
    assert "t.csv line 3: model: '../../etc' cannot be the name of a model" in strict.stderr
    assert not (tmp_path / "profiles.db").exists()
    done = run("import", "t.csv", cwd=tmp_path)
    assert "t.csv line 3: model: '../../etc' cannot be the name of a model" in done.stderr
    with ProfileStore(tmp_path / "profiles.db") as opened:
        assert [m.model for m in opened.measurements()] == ["bert"]


def test_hosts_that_differ_are_told_apart_and_layouts_have_the_devices_type(tmp_path: Path):
    """12 cores fit the large host alone; export and verify look for a Tesla T4 there."""
    header = "model,device_type,throughput,memory_mb,cpu_cores\n"
    (tmp_path / "t.csv").write_text(f"{header}a,Tesla T4,1,9000,12\nb,Tesla T4,1,9000,1\n")
    (tmp_path / "fleet.yaml").write_text(
        "- {device: Tesla T4, count: 1, host: large, cpu: 16}\n"
        "- {device: Tesla T4, count: 1, host: small, cpu: 2}\n"
    )
    assert run("import", "t.csv", cwd=tmp_path).returncode == 0
    arguments = ("--fleet", "fleet.yaml", "--limits", "memory,cpu", "--output-format", "json")
    done = run("place", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    devices = json.loads(done.stdout)["layout"]["devices"]
    found = {d["name"]: (d["device_type"], d["residents"][0]["model"]) for d in devices}
    assert found == {"large": ("Tesla T4", "a"), "small": ("Tesla T4", "b")}


def test_models_of_the_configuration_file_are_shown_as_far_as_they_were_measured(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is for all commands, and `profile` may not have come to llama yet."""
    config = tmp_path / "model-placer.yaml"
    config.write_text("models: {bert: {}, llama: {}}\n")
    shown = show(store, "-f", str(config), "--output-format", "json")
    assert shown.exit_code == 0
    rows = json.loads(shown.stdout)["measurements"]
    assert {row["variant"]["model"] for row in rows} == {"bert"}
    assert "Not measured yet: llama." in caplog.text
    asked = run("show", "--store", store, "--models", "bert,llama", cwd=tmp_path)
    assert asked.returncode == 2
    assert "'llama'" in asked.stderr
