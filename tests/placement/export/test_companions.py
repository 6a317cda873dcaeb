"""What models use beside their directories is found, brought along, or named."""

from __future__ import annotations

from pathlib import Path

import pytest
from python_models import add_model

from placement import export
from placement.export.companions import Companions, companions
from placement.export.servers import servers
from placement.layout import Layout, PlacedDevice, Resident
from profiles import repository
from profiles.variant import Variant

CALLER = """
words = open(os.path.join("..", "vocab", "words.txt"))
call = pb_utils.InferenceRequest(model_name="doubler", inputs=[], requested_output_names=["OUT"])
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository with a vocabulary, an environment and a helper module beside its models."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("vocab", "unused", "utils"):
        (folder / name).mkdir()
    (folder / "env.tar.gz").write_text("env")
    (folder / "shared_code.py").write_text("x = 1")
    add_model(folder, "doubler")
    return folder


def uses(folder: Path, name: str, **more: object) -> Companions:
    known = repository.model_names(folder)
    return companions(repository.read_model(folder, name), known, **({"told": False} | more))  # type: ignore[arg-type]


def a_parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def test_what_parameters_and_code_name_beside_the_model_is_found(models: Path):
    environment = a_parameter("EXECUTION_ENV_PATH", "$$TRITON_MODEL_DIRECTORY/../env.tar.gz")
    add_model(
        models,
        "bert",
        "import shared_code\nfrom utils import x\nopen('../vocab/words.txt')",
        environment,
    )
    found = uses(models, "bert")
    assert [path.name for path in found.beside] == [
        "env.tar.gz",
        "shared_code.py",
        "utils",
        "vocab",
    ]
    assert found.warnings == ()


def test_another_models_directory_counts_where_a_path_leads_there(models: Path):
    add_model(models, "by_name", "name = 'doubler'")
    assert uses(models, "by_name").beside == ()
    add_model(models, "by_path", "path = os.path.join('..', 'doubler', '1')")
    assert [path.name for path in uses(models, "by_path").beside] == ["doubler"]


def test_absolute_paths_are_mounted_or_named_as_missing(models: Path, tmp_path: Path):
    (tmp_path / "engines").mkdir()
    given = a_parameter("here", str(tmp_path / "engines")) + a_parameter("gone", "/no/such/engine")
    add_model(models, "llm", config=given)
    found = uses(models, "llm")
    assert found.mounted == (tmp_path / "engines",)
    here, gone = sorted(found.warnings, key=len, reverse=True)
    assert "parameter here" in here + gone
    assert "parameter gone names /no/such/engine, which is not here" in here + gone


def test_what_lies_outside_the_repository_is_named(models: Path, tmp_path: Path):
    (tmp_path / "outside").mkdir()
    paths = a_parameter("a", "../../outside") + a_parameter("b", "../nothing")
    add_model(models, "bert", config=paths)
    said = "\n".join(uses(models, "bert").warnings)
    assert "parameter a names ../../outside, which lies outside the repository" in said
    assert "parameter b names ../nothing, which is not there" in said


def test_models_that_code_calls_are_found_by_their_names_and_said(models: Path):
    add_model(models, "caller", CALLER)
    found = uses(models, "caller")
    assert found.called == ("doubler",)
    assert "--with-models caller=doubler" in found.warnings[0]
    told = uses(models, "caller", told=True)
    assert (told.called, told.warnings) == ((), ())


def a_layout(*residents: Resident) -> Layout:
    return Layout((PlacedDevice("gpu-1", "Tesla T4", residents),))


def test_an_export_holds_it_all_and_says_what_it_cannot(models: Path, tmp_path: Path):
    add_model(models, "caller", CALLER)
    add_model(models, "bert", "open('../vocab/words.txt')", a_parameter("gone", "/no/such"))
    (models / "bert" / "configs").mkdir()
    (models / "bert" / "configs" / "other.pbtxt").write_text("max_batch_size: 2")
    warnings: list[str] = []
    layout = a_layout(Resident("caller", "o"), Resident("bert", "o"))
    export.export(layout, models, tmp_path / "out", copy=True, warn=warnings.append)
    written = tmp_path / "out" / "triton" / "gpu-1"
    assert sorted(path.name for path in written.iterdir()) == ["bert", "caller", "doubler", "vocab"]
    assert (written / "bert" / "configs" / "other.pbtxt").is_file()
    assert len(warnings) == 2


def test_what_was_measured_or_told_stands_above_what_is_found(models: Path):
    """The code names `doubler`; it was measured with `other`, and the option says `third`."""
    add_model(models, "caller", CALLER)
    for name in ("other", "third"):
        add_model(models, name)
    measured = a_layout(
        Resident("caller", "o", variant=Variant("caller", members=(Variant("other"),)))
    )
    assert [m.name for m in servers(measured, models)[0].models] == ["caller", "other"]
    plain = a_layout(Resident("caller", "o"))
    told = servers(plain, models, with_models={"caller": ["third"]})
    assert [m.name for m in told[0].models] == ["caller", "third"]


def test_a_linked_models_own_folder_is_mounted(models: Path, tmp_path: Path):
    """The model's directory is a link, and what it links to holds a link again."""
    add_model(tmp_path / "elsewhere", "bert")
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "a1").write_text("weights")
    (tmp_path / "elsewhere" / "bert" / "1" / "w.bin").symlink_to(tmp_path / "blobs" / "a1")
    (models / "bert").symlink_to(tmp_path / "elsewhere" / "bert")
    export.export(a_layout(Resident("bert", "o")), models, tmp_path / "out", ["compose"])
    text = (tmp_path / "out" / "compose" / "compose.yaml").read_text()
    for folder in (models, tmp_path / "elsewhere", tmp_path / "blobs"):
        assert f"{folder}:{folder}:ro" in text
