"""The schemas are those of the readers: files that are read are valid, slips are not."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from command_line import run
from some_rows import a_measurement

from analyzer.cli.schema import SCHEMAS, text
from placement.layout import layout as layouts
from placement.layout.layout import Layout, PlacedDevice, Resident
from profiles.json_schema import FOLDER
from profiles.measurement import LoadPoint
from profiles.store import ProfileStore
from profiles.variant import DynamicBatching, Variant

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_shipped_is_what_the_code_reads(name: str):
    made = SCHEMAS[name]()
    jsonschema.Draft202012Validator.check_schema(made)
    shipped = (FOLDER / f"{name}.json").read_text()
    assert shipped == text(made), "run `model-placer schema --all profiles/schemas`"


def a_layout() -> Layout:
    variant = Variant("bert", dynamic_batching=DynamicBatching((2,), 100), instance_count=2)
    resident = Resident("bert", "as configured", variant=variant, load=LoadPoint(2, 4))
    device = PlacedDevice("gpu-1", "Tesla T4", (resident,), {"memory": 1.0}, {"memory": 2.0})
    return Layout((device,), units={"memory": "bytes"})


def test_a_saved_layout_links_to_its_schema_and_is_valid_by_it(tmp_path: Path):
    layouts.save(a_layout(), tmp_path / "layout.yaml")
    saved = (tmp_path / "layout.yaml").read_text()
    linked = Path(saved.splitlines()[0].rpartition("file://")[2])
    schema = json.loads(linked.read_text())
    document = yaml.safe_load(saved)
    jsonschema.validate(document, schema)
    assert layouts.load(tmp_path / "layout.yaml") == a_layout()
    document["devices"][0]["residents"][0]["modell"] = "slip"
    with pytest.raises(jsonschema.ValidationError, match="modell"):
        jsonschema.validate(document, schema)


FLEET = """
- { device: Tesla T4, count: 4, price: 0.35, host: node-a }
- { device: my board, memory: 12GB, price: 0.2 }
"""
DEMAND = """
models: {bert: {rate: 120, latency_limit_ms: 20}}
rules: {pins: [{model: bert, device: node-a}], apart: [[bert, gpt]]}
"""
TABLE = "[{model: bert, throughput: 3, memory_mb: 9, parameter.threads: 2}]"
MAP = "{model: Model, memory_mb: {column: mem, unit: GiB}}"


@pytest.mark.parametrize(
    ("name", "good", "slip"),
    [
        ("fleet", FLEET, "[{devise: Tesla T4}]"),
        ("demand", DEMAND, "{models: {bert: {rat: 1}}}"),
        ("table", TABLE, "[{model: bert, memory: 3}]"),
        ("columns", MAP, "{memory: mem}"),
        ("config", (ROOT / "examples" / "demo.yaml").read_text(), "{profile: {batch_size: [1]}}"),
        ("config", "{models: {a: {members: {b: {instance_counts: 2}}}}}", "{models: {a: {x: 1}}}"),
    ],
)
def test_files_are_valid_and_slips_are_not(name: str, good: str, slip: str):
    jsonschema.validate(yaml.safe_load(good), SCHEMAS[name]())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(slip), SCHEMAS[name]())


def test_a_problem_file_of_the_documentation_is_valid():
    page = (ROOT / "docs" / "problem-file.md").read_text()
    example = page.split("```json\n")[1].split("```")[0]
    jsonschema.validate(json.loads(example), SCHEMAS["problem"]())


def test_fields_are_described_by_the_comments_behind_them():
    schema = SCHEMAS["layout"]()
    share = schema["$defs"]["Resident"]["properties"]["share"]
    assert share["description"].startswith("of the option's measured throughput")


def test_the_command_prints_one_and_asks_which(tmp_path: Path):
    assert json.loads(run("schema", "fleet", cwd=tmp_path).stdout)["type"] == "array"
    done = run("schema", cwd=tmp_path)
    assert done.returncode == 2
    assert "Known ones: config, layout" in done.stderr


def test_every_section_of_the_configuration_file_is_read_by_its_command(tmp_path: Path):
    """`advise` takes what it needs from the file, as the others do."""
    with ProfileStore(tmp_path / "mine.db") as store:
        store.add(a_measurement())
    (tmp_path / "model-placer.yaml").write_text("{store: mine.db, advise: {max_memory: 80%}}")
    done = run("advise", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nothing to advise: 1 point shows no fault." in done.stdout
