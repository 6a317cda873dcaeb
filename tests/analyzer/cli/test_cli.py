"""The command as a user types it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from command_line import COMMAND, run

from analyzer.cli import COMMANDS, cli
from analyzer.triton.runtime import Binary


def test_every_command_says_what_it_does_and_shows_an_example():
    import click

    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.help, name
        if not isinstance(command, click.Group):
            assert f"model-placer {name}" in command.help or ":" in command.help, name
    assert set(cli.list_commands(click.Context(cli))) <= set(COMMANDS)


def test_a_misspelt_command_suggests_the_nearest(tmp_path: Path):
    done = run("profil", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean 'profile'?" in done.stderr


def test_a_slip_in_the_configuration_files_models_is_placed(tmp_path: Path):
    (tmp_path / "model-placer.yaml").write_text("models: {bert: {instance_count: [1]}}")
    done = run("profile", "-m", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "model-placer.yaml: models: bert: unknown field 'instance_count'" in done.stderr
    assert "Did you mean 'instance_counts'?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["profile"], "Missing option"),
        (["profile", "-m", "nowhere"], "nowhere does not exist"),
        (["profile", "-m", "."], "empty"),
        (["profile", "-m", ".", "--batch-sizes", "1,x"], "'x' is not a positive integer"),
        (["profile", "-m", ".", "--batch-sizes", "0"], "'0' is not a positive integer"),
        (["profile", "-m", ".", "--parameter", "threads"], "KEY=VALUE"),
        (["profile", "-m", ".", "--max-duration", "soon"], "not a duration"),
        (["profile", "-m", ".", "--rate-limiter", "R1"], "'R1' is not NAME:COUNT"),
        (["profile", "-m", ".", "--host-policy", "a:cores=1"], "cpu-cores, numa-node"),
        (["profile", "-m", ".", "--warm-ups", "-1"], "'-1' is not a non-negative integer"),
        (["profile", "-m", ".", "--with-models", "bert"], "MODEL=OTHER"),
        (["profile", "-m", ".", "--confidence-interval", "200%"], "not a percentage"),
        (["show", "--store", "none.db"], "no such profile store"),
        (["place", "--store", "none.db"], "no such profile store"),
        (["export", "none.yaml", "-m", "."], "none.yaml"),
        (["merge", "none.db", "-o", "all.db"], "no such profile store"),
        (["run"], "configuration file"),
        (["profile", "-f", "none.yaml"], "none.yaml"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, arguments: list[str], said: str):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profile: [1\nstore: x", "line 2"),
        ("profile: {batch_size: [1]}", "Did you mean 'batch_sizes'?"),
        ("stor: x.db", "Did you mean 'store'?"),
        ("- a list", "a mapping"),
        ("profile: 3", "a mapping of options"),
    ],
)
def test_a_broken_configuration_file_names_the_field(tmp_path: Path, text: str, said: str):
    (tmp_path / "model-placer.yaml").write_text(text)
    done = run("profile", "-m", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "model-placer.yaml" in done.stderr
    assert said in done.stderr


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path):
    (tmp_path / "model-placer.yaml").write_text("store: file.db\n")
    assert "file.db" in run("show", cwd=tmp_path).stderr
    os.environ["MODEL_PLACER_STORE"] = "environment.db"
    try:
        assert "environment.db" in run("show", cwd=tmp_path).stderr
        assert "flag.db" in run("show", "--store", "flag.db", cwd=tmp_path).stderr
    finally:
        del os.environ["MODEL_PLACER_STORE"]


@pytest.mark.triton
@pytest.mark.usefixtures("embedded_triton")
def test_in_the_background_under_nohup_a_sweep_goes_on(tmp_path: Path, example_repository: Path):
    """Neither Ctrl-C nor a terminal that is closed ends it; SIGTERM does."""
    ignoring = ["sh", "-c", 'trap "" INT HUP; exec "$@"', "sh"]
    arguments = ["profile", "-m", str(example_repository), "--models", "ocr_orientation"]
    with subprocess.Popen(
        [*ignoring, *COMMAND, *arguments, "--max-duration", "500ms"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            if line.startswith("["):
                told.append(line)
                for number in (signal.SIGINT, signal.SIGHUP):
                    process.send_signal(number)
            if len(told) == 3:
                break
        process.terminate()
        process.stderr.read()
        assert process.wait() == 143
    assert len(told) == 3


@pytest.mark.triton
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupted_sweep_leaves_its_points_and_nothing_else(
    tmp_path: Path,
    embedded_triton: Binary,
    example_repository: Path,
    number: signal.Signals,
    code: int,
):
    """Within ten seconds, exit code of the signal, no process left, finished points kept."""
    arguments = ["profile", "-m", str(example_repository), "--models", "ocr_orientation"]
    with subprocess.Popen(
        [*COMMAND, *arguments, "--max-duration", "1s"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[2/9]"):
                break
        time.sleep(0.3)
        children = psutil.Process(process.pid).children(recursive=True)
        assert any(child.name() == "tritonserver" for child in children)
        told = time.monotonic()
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait() == code
    assert time.monotonic() - told < 10
    assert "Traceback" not in rest
    assert not [child for child in children if child.is_running()]
    assert "ocr_orientation" in run("show", cwd=tmp_path).stdout
