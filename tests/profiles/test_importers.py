import pytest

from profiles.errors import InputError
from profiles.importers import read_table

HEADER = "model,device_type,throughput,memory_mb,utilization_percent,latency_p99_ms\n"


def a_table(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_text(text)
    return read_table(path)


def test_the_servers_row_is_subtracted_and_kept_as_the_baseline(tmp_path):
    """1309 less 309 MB; utilization 50 less 9."""
    table = a_table(tmp_path, f"{HEADER}(server),t4,,309,9,\nbert,t4,100,1309,50,12.5\n")
    (measurement,) = table.measurements
    assert measurement.usage.memory_hot_bytes == 1_000_000_000
    assert measurement.usage.utilization_percent == 41
    assert measurement.latency.p99_ms == 12.5
    assert table.baselines[0].memory_bytes == 309_000_000


def test_a_percentile_that_is_missing_is_no_worse_than_the_next(tmp_path):
    table = a_table(tmp_path, f"{HEADER}bert,t4,100,1309,50,12.5\n")
    assert table.measurements[0].latency.p50_ms == 12.5


def test_yaml_rows_say_the_same_as_csv(tmp_path):
    csv = a_table(tmp_path, f"# a comment\n{HEADER}bert,t4,100,1309,50,\n")
    rows = (
        "- {model: bert, device_type: t4, throughput: 100,"
        " memory_mb: 1309, utilization_percent: 50}"
    )
    assert a_table(tmp_path, rows, "table.yaml").measurements == csv.measurements


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("bert,t4,fast,1309,50,", r"line 2: throughput: 'fast' is not a number"),
        ("bert,t4,0,1309,50,", r"line 2: throughput must be above zero"),
        ("bert,t4,100,,50,", r"line 2: memory_mb is missing"),
        (",t4,100,1309,50,", r"line 2: model is missing"),
        ("bert,,100,1309,50,", r"line 2: device_type is missing"),
        ("bert,t4,100,1309,-5,", r"line 2: utilization_percent: must be at least 0"),
        ("bert,t4,100,1309,50", r"line 2: 5 cells, the header has 6"),
        ("bert,t4,100,nan,50,", r"line 2: memory_mb: must be at least 0"),
        ("(server),t4,,309,9,\n(server),t4,,310,9,", r"line 3: a second \(server\) row"),
        ("(server),t4,,309,9,\nbert,t4,100,300,50,", r"line 3: memory is less than the server's"),
        ("", "has no rows"),
    ],
)
def test_a_broken_row_is_named(tmp_path, row, named):
    with pytest.raises(InputError, match=named):
        a_table(tmp_path, HEADER + row + "\n")


@pytest.mark.parametrize(
    ("text", "name", "named"),
    [
        ("", "t.csv", "is empty"),
        ("model,throughput\n", "t.csv", "column 'device_type' is missing"),
        ("model,modell\n", "t.csv", "unknown column 'modell'"),
        ("{a: b}", "t.yaml", "a list of rows is expected"),
        ("- [", "t.yaml", r"line \d+, column \d+"),
        ("- bert", "t.yaml", "row 1: a mapping"),
        ("- {model: bert, speed: 1}", "t.yaml", "row 1: unknown column 'speed'"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, name, named):
    with pytest.raises(InputError, match=named):
        a_table(tmp_path, text, name)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not a text file"):
        read_table(tmp_path / "t.csv")
