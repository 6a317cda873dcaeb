"""What a new user may type or write: one clear error each, and never a traceback."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import click
import pytest
from command_line import ROOT

from analyzer.cli import cli
from placement.export import folder
from profiles.errors import InputError, ModelPlacerError

CASE = ROOT / "examples/founding-case/profiles.csv"
MODELS = ROOT / "examples/model_repository"
FEW = ("profile", "-m", MODELS, "--models", "nope")  # ends before a server is started


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "profiles.db"
    call("import", CASE, "--store", path)
    return path


def call(*arguments: object) -> None:
    """The command, in this process; an error of any other kind is a traceback to the user."""
    cli.main([str(one) for one in arguments], prog_name="model-placer", standalone_mode=False)


def error_of(*arguments: object) -> str:
    """What the user is told; it ends with exit code 2."""
    with pytest.raises((InputError, click.ClickException)) as caught:
        call(*arguments)
    error = caught.value
    return error.format_message() if isinstance(error, click.ClickException) else str(error)


SLIPS = {  # by option of `place`: values that are refused, by flag, environment and file alike
    "time_limit": ["-5s", "nan", "0", "inf", "1e400", "soon"],
    "count": ["nan", "0", "-1", "1.5", "inf", "x"],
    "seed": ["-1", "99999999999", "nan", "1.5"],
    "move_price": ["-1", "nan", "inf", "1e400"],
    "max_memory": ["1", "0", "nan%", "101%", "-3", "inf"],
    "limits": [",", " ,"],
    "models": [","],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option in SLIPS for value in SLIPS[option]]
)
def test_flag_environment_and_file_are_read_alike(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: str
):
    file = tmp_path / "file.yaml"
    file.write_text(f'place: {{{option}: "{value}"}}')
    flag = "--" + option.replace("_", "-")
    said = [error_of("place", "--store", store, flag, value)]
    said.append(error_of("place", "--store", store, "-f", file))
    monkeypatch.setenv(f"MODEL_PLACER_{option.upper()}", value)
    said.append(error_of("place", "--store", store))
    assert flag in said[0]
    assert len(set(said)) == 1


@pytest.mark.parametrize("value", ["[a]", "{a: b}", "true", "", '"a\\0b"', "[]"])
@pytest.mark.parametrize("option", ["store", "output", "fleet", "count", "max_power", "device"])
def test_a_value_of_another_form_is_told_with_its_key(tmp_path: Path, option: str, value: str):
    file = tmp_path / "file.yaml"
    file.write_text(f"place: {{{option}: {value}}}")
    assert option.replace("_", "-") in error_of("place", "-f", file).replace("_", "-")


@pytest.mark.parametrize("value", ["[a]", "3", "yes please", ""])
def test_a_switch_is_true_or_false(tmp_path: Path, value: str):
    file = tmp_path / "file.yaml"
    file.write_text(f"place: {{explain: {value}}}")
    assert "explain" in error_of("place", "-f", file)


def test_numbers_and_lists_in_the_file_are_taken_as_they_stand(store: Path, tmp_path: Path):
    file = tmp_path / "file.yaml"
    file.write_text(
        f"store: {store}\nplace: {{limits: [memory], count: 4, device: 16 GB GPU, seed: 3,"
        " max_memory: 100, explain: true, time_limit: 20, exclude_device: gpu-9}\n"
    )
    assert "gpu-9" in error_of("place", "-f", file)


@pytest.mark.parametrize(
    ("option", "value", "needs"),
    [
        ("--arrivals", "poisson", "--request-rates"),
        ("--goal", "pareto", "--search auto"),
        ("--latency-limit", "5", "--search auto"),
        ("--url", "h:1", "--launch-mode remote"),
        ("--grpc-url", "h:1", "--launch-mode remote"),
        ("--triton-image", "x", "--launch-mode docker"),
    ],
)
def test_an_option_without_effect_is_not_taken_in_silence(option: str, value: str, needs: str):
    assert error_of(*FEW, option, value) == f"{option} has no effect without {needs}."


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--concurrency", "1", "--request-rates", "5"), "Give either --concurrency or"),
        (("--part-load", "auto", "--request-rates", "5"), "give --part-load none"),
        (("--for-plan", "l.yaml", "--part-load", "50"), "--for-plan measures no part load"),
        (("--for-plan", "l.yaml", "--pairs"), "Give either --for-plan or --pairs"),
    ],
)
def test_options_of_which_one_would_be_ignored_are_refused(options: tuple[str, ...], says: str):
    assert says in error_of("profile", "-m", MODELS, "--dry-run", *options)


def test_a_file_that_is_not_there_is_told_with_what_writes_one(store: Path):
    report = ("report", "--store", store)
    assert error_of("export", "no.yaml", "-m", MODELS).endswith(
        "no.yaml: No such file or directory. `model-placer place -o FILE` writes one."
    )
    assert "`model-placer place --answer` writes" in error_of(*report, "--placement", "no.json")
    assert "`model-placer verify -o FILE` writes" in error_of(*report, "--verification", "no.yaml")


def test_a_dry_run_looks_at_the_layout_and_at_models_of_shapes():
    dry = ("profile", "-m", MODELS, "--dry-run")
    assert "nope.yaml: No such file" in error_of(*dry, "--for-plan", "nope.yaml")
    assert "Unknown model 'nope'" in error_of(*dry, "--shape", "nope/x:1")
    assert "Unknown model 'nope'" in error_of(*dry, "--random-range", "nope/x=1:2")


def test_the_memory_of_no_device_is_refused(store: Path):
    """It once made GPUs of CPU hosts."""
    said = error_of("place", "--store", store, "--device-memory", "8GB")
    assert said == "--device-memory has no effect without --device."


@pytest.mark.parametrize("memory", ["1e400GB", "-1GB", "nanGB", "0", "GB", "1" * 400])
def test_memory_that_no_device_has(store: Path, memory: str):
    assert "memory" in error_of(
        "place", "--store", store, "--device", "16 GB GPU", "--device-memory", memory
    )


@pytest.mark.parametrize("output", [".", "", "none/layout.yaml", "x" * 300])
def test_an_output_that_cannot_be_written_is_said_before_the_search(store: Path, output: str):
    start_s = time.monotonic()
    assert "cannot be written" in error_of("place", "--store", store, "-o", output) or output in {
        ".",
        "",
    }
    assert time.monotonic() - start_s < 5


@pytest.mark.skipif(os.geteuid() != 0, reason="devices are made by root")
def test_what_is_no_regular_file_stays(store: Path, tmp_path: Path):
    null = tmp_path / "null"
    os.mknod(null, 0o666 | 0o020000, os.makedev(1, 3))
    call("place", "--store", store, "-o", null, "--limits", "memory")
    assert "not a regular file" in error_of(*FEW, "--done", null)
    call("report", "--store", store, "-o", null)
    with pytest.raises(InputError, match="is a device"):  # as `export --force`
        folder.check(null, force=True, keep=MODELS)
    with pytest.raises(ModelPlacerError):
        call("import", CASE, "--store", null)
    assert null.is_char_device()


@pytest.mark.parametrize("to", ["> /dev/full", "2> /dev/full", ">&-", "2>&-", "<&-"])
@pytest.mark.parametrize("command", ["show", "--help"])
def test_streams_that_fail_or_are_closed_are_no_traceback(store: Path, command: str, to: str):
    name, *rest = command.split()
    words = [name] if name.startswith("-") else [name, "--store", str(store), *rest]
    start = f'"{sys.executable}" -m analyzer.entry {" ".join(words)} {to}'
    done = subprocess.run(
        ["bash", "-c", start],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "Traceback" not in done.stderr
    if to == "> /dev/full":
        assert done.returncode == 3
        assert "No space left on device" in done.stderr


@pytest.mark.parametrize("wait_ms", range(0, 300, 25))
def test_an_interrupt_at_any_early_moment_is_no_traceback(store: Path, wait_ms: int):
    """Python catches SIGINT from its own start on; the command begins by letting it through."""
    process = subprocess.Popen(
        [sys.executable, "-m", "analyzer.entry", "show", "--store", str(store)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for caught in (True, False):
        while process.poll() is None and catches_interrupts(process.pid) is not caught:
            time.sleep(0.001)
    time.sleep(wait_ms / 1000)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode in {0, 130, -signal.SIGINT}
    assert "Traceback" not in error


def catches_interrupts(pid: int) -> bool:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1)
    return False


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--shape", f"x:{'1' * 5000}"),
        ("--concurrency", "1" * 5000),
        ("--concurrency", "9" * 30),
        ("--batch-sizes", "9" * 30),
        ("--shard", f"{'1' * 5000}/2"),
        ("--cpus", "9" * 30),
    ],
)
def test_counts_beyond_reason(option: str, value: str):
    assert option in error_of("profile", "-m", MODELS, option, value)


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path):
    store = ("--store", tmp_path / "p.db")
    remote = ("--launch-mode", "remote", "--url", "user:secret@localhost:8000")
    said = error_of("profile", "-m", MODELS, *store, *remote)
    assert "takes no user and password" in said
    assert "secret" not in said


def test_more_connections_than_can_be_open_are_refused_before_the_start():
    """Each point would be tried for its time, and fail with "Too many open files"."""
    said = error_of("profile", "-m", MODELS, "--concurrency", "1000000")
    assert "--concurrency 1000000: at most" in said


def test_a_request_too_large_to_be_sent_is_refused_before_its_memory_is_taken(tmp_path: Path):
    """10^6 times 10^6 values of 4 bytes are 4 TB."""
    (tmp_path / "wide" / "1").mkdir(parents=True)
    (tmp_path / "wide" / "1" / "model.py").write_text("")
    (tmp_path / "wide" / "config.pbtxt").write_text(
        'backend: "python" max_batch_size: 1\n'
        'input { name: "x" data_type: TYPE_FP32 dims: [ -1, -1 ] }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }\n'
    )
    said = error_of("profile", "-m", tmp_path, "--shape", "x:1000000,1000000")
    assert "a request of 4e+03 GB is more than the 2.15 GB that can be sent" in said
