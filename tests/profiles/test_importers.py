import pytest

from profiles.errors import InputError
from profiles.importers import read_table

HEADER = "model,device_type,throughput,memory_mb,utilization_percent,latency_p99_ms\n"


def a_table(tmp_path, text, name="table.csv", *, strict=True):
    path = tmp_path / name
    path.write_text(text)
    return read_table(path, strict=strict)


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
        # What no device shows.
        ("bert,t4,1e308,1309,50,", r"line 2: throughput: '1e308' is more than any device shows"),
        ("bert,t4,100,1e14,50,", r"line 2: memory_mb: '1e14' is more than any device shows"),
        ("bert,t4,100,1309,101,", r"line 2: utilization_percent: '101' is more than"),
        ("bert,t4,100,1309,50,1e300", r"line 2: latency_p99_ms: '1e300' is more than"),
        ("(server),t4,,1e20,9,", r"line 2: memory_mb: '1e20' is more than"),
        # What Triton cannot serve.
        ("..,t4,100,1309,50,", r"line 2: model: '..' cannot be the name of a model"),
        ("../up,t4,100,1309,50,", r"line 2: model: '../up' cannot be .*: it has a slash"),
        ('"two\nlines",t4,100,1309,50,', r"line 3: model: .* a control character or a line break"),
        ("a\x07b,t4,100,1309,50,", r"line 2: model: .* a control character"),
        ("a\u2028b,t4,100,1309,50,", r"line 2: model: .* it has a line break"),
        (f"{'x' * 256},t4,100,1309,50,", r"line 2: model: .* longer than 255 bytes"),
        ('bert,"t\n4",100,1309,50,', r"line 3: device_type: .* a line break"),
        ('(server),"t\n4",,309,9,', r"line 3: device_type: .* a line break"),
        # What is there twice.
        ("bert,t4,100,1309,50,\nbert,t4,100,1309,50,", r"line 3: the same .* as .*line 2; keep"),
        # A cell beyond what Python's reader takes; a quotation mark that does not end.
        (f"bert,t4,100,{'1' * 131073},50,", r"line 2: is not CSV \(field larger than field limit"),
        (f'"bert,t4,100,1,50,\n{"x" * 140_000}', r"is not CSV .* quotation mark"),
        (f"bert,t4,100,{'x' * 100_000},50,", r"line 2: memory_mb: .{,70}… is not a number"),
    ],
)
def test_a_broken_row_is_named(tmp_path, row, named):
    with pytest.raises(InputError, match=named):
        a_table(tmp_path, HEADER + row + "\n")


@pytest.mark.parametrize(
    ("text", "name", "named"),
    [
        ("", "t.csv", "is empty"),
        ("model,throughput\nbert,1\n", "t.csv", "line 2: device_type is missing; --device-type"),
        ("model,modell\nbert,1\n", "t.csv", "line 2: unknown column 'modell'"),
        ("throughput,device_type\n1,t4\n", "t.csv", "line 2: column 'model' is missing"),
        ("{a: b}", "t.yaml", "expected a list of rows"),
        ("- [", "t.yaml", r"line \d+, column \d+"),
        ("- bert", "t.yaml", "row 1: expected a mapping"),
        ("- {model: bert, speed: 1}", "t.yaml", "row 1: unknown column 'speed'"),
        ("- {model: [bert]}", "t.yaml", r"row 1: model: expected a name, not \['bert'\]"),
        ("- {model: a, device_type: b, throughput: 2024-02-30}", "t.yaml", "throughput: .* not a"),
        ("- {model: a, device_type: b, throughput: 2024-02-03}", "t.yaml", "throughput: .* not a"),
        ("- {model: !!timestamp 2024-02-30}", "t.yaml", "a value that cannot be read"),
        (f"- {{model: a, device_type: b, throughput: {'9' * 5000}}}", "t.yaml", "cannot be read"),
        ("[" * 5000, "t.yaml", "nested too deeply|is not YAML"),
        ("[" * 5000, "t.json", "nested too deeply|is not YAML"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, name, named):
    with pytest.raises(InputError, match=named):
        a_table(tmp_path, text, name)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not a text file"):
        read_table(tmp_path / "t.csv")


LATENCIES = ("p50", "p90", "p95", "p99", "max")


@pytest.mark.parametrize("at", range(4))
def test_percentiles_that_fall_with_their_rank_are_refused(tmp_path, at):
    figures = [10.0] * 5
    figures[at] = 11.0
    columns = ",".join(f"latency_{name}_ms" for name in LATENCIES)
    row = ",".join(map(str, figures))
    named = f"latency_{LATENCIES[at]}_ms is 11, more than latency_{LATENCIES[at + 1]}_ms"
    with pytest.raises(InputError, match=named):
        a_table(tmp_path, f"model,device_type,throughput,memory_mb,{columns}\nbert,t4,1,1,{row}\n")


@pytest.mark.parametrize(
    ("columns", "cells", "named"),
    [
        ("memory_cold_mb", "1310", "memory_cold_mb is more than the memory under load"),
        ("request_rate,concurrency", "100,4", "a load is one or the other"),
        ("request_rate", "0", "request_rate must be above zero"),
        ("latency_p99_ms,latency_max_ms,latency_mean_ms", "1,2,3", "latency_mean_ms is more than"),
        ("batch_size", "3000000000", "batch_size: '3000000000' is more than any"),
        ("instance_count", "1e10", "instance_count: '1e10' is more than any"),
        ("memory_bytes", "1e20", "memory_bytes: '1e20' is more than any"),
    ],
)
def test_figures_that_make_no_sense_together_are_refused(tmp_path, columns, cells, named):
    text = f"model,device_type,throughput,memory_mb,{columns}\nbert,t4,100,1309,{cells}\n"
    with pytest.raises(InputError, match=named):
        a_table(tmp_path, text)


def test_a_date_is_a_name_like_any_other(tmp_path):
    """YAML takes it for a date; a model may be called so."""
    rows = "- {model: 2024-01-31, device_type: t4, throughput: 100, memory_mb: 1309}"
    assert a_table(tmp_path, rows, "table.yaml").measurements[0].model == "2024-01-31"


def test_points_that_differ_in_their_rate_alone_are_two(tmp_path):
    header = "model,device_type,throughput,memory_mb,request_rate\n"
    table = a_table(tmp_path, f"{header}bert,t4,9,9,1000001\nbert,t4,9,9,1000002\n")
    assert len(table.measurements) == 2


def test_windows_line_ends_are_taken(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(f"# note\n{HEADER}bert,t4,100,1309,50,12.5\n".replace("\n", "\r\n").encode())
    assert len(read_table(path).measurements) == 1


GOOD = "bert,t4,100,1309,50,12.5\n"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("gpt,t4,0,1309,50,1", "line 3: throughput must be above zero. The row is left out."),
        ("gpt,t4,fast,1309,50,1", "line 3: throughput: 'fast' is not a number. The row is left"),
        ("gpt,t4,,1309,50,1", "line 3: throughput is missing. The row is left out."),
        ("gpt,t4,5,1309,50", "line 3: 5 cells, the header has 6. The row is left out."),
        (",t4,5,1309,50,1", "line 3: model is missing. The row is left out."),
        (GOOD.strip(), "line 3: the same model, configuration, load and device type as"),
        ("../up,t4,5,1309,50,1", "line 3: model: '../up' cannot be the name of a model"),
    ],
)
def test_a_row_that_makes_no_sense_costs_that_row_and_is_said(tmp_path, row, told):
    table = a_table(tmp_path, f"{HEADER}{GOOD}{row}\n", strict=False)
    assert [m.model for m in table.measurements] == ["bert"]
    (note,) = table.notes
    assert told in note


def test_memory_below_the_servers_costs_the_row(tmp_path):
    """A hair below: 308 of 309 MB says nothing of what the model needs."""
    rows = "(server),t4,,309,9,\ngpt,t4,5,308,50,1\n"
    table = a_table(tmp_path, HEADER + rows + GOOD, strict=False)
    assert [m.model for m in table.measurements] == ["bert"]
    assert "line 3: memory is less than the server's own. The row is left out." in table.notes[0]


def test_points_without_memory_are_kept_and_told_once(tmp_path):
    rows = f"{GOOD}gpt,t4,5,,50,1\nocr,t4,6,,50,1\n"
    table = a_table(tmp_path, HEADER + rows, strict=False)
    assert [m.usage is None for m in table.measurements] == [False, True, True]
    (note,) = table.notes
    assert "line 3: memory_mb is missing, in 1 other row, too. Kept without" in note


def test_a_column_that_nobody_knows_costs_that_column(tmp_path):
    text = "model,speed,device_type,throughput,memory_mb\nbert,9,t4,100,1309\n"
    table = a_table(tmp_path, text, strict=False)
    assert len(table.measurements) == 1
    (note,) = table.notes
    assert "line 2: unknown column 'speed'. Known columns: " in note
    assert note.endswith("The column is not read.")


def test_a_mean_without_percentiles_is_kept_and_passed_for_none(tmp_path):
    """A mean is no bound of any percentile: no latency limit may be checked by it."""
    text = "model,device_type,throughput,memory_mb,latency_mean_ms\nbert,t4,100,1309,7.5\n"
    table = a_table(tmp_path, text, strict=False)
    (measurement,) = table.measurements
    assert measurement.latency is None
    assert measurement.extra == {"latency_mean_ms": 7.5}
    assert "Kept: latency_mean_ms;" in table.notes[0]


def test_rows_that_differ_in_their_configuration_stay_apart(tmp_path):
    text = (
        "model,device_type,throughput,memory_mb,kind,dynamic_batching,max_queue_delay_us,"
        "preferred_batch_sizes,parameter.intra_op_thread_count,members\n"
        "bert,t4,1,9,,,,,,\n"
        "bert,t4,2,9,KIND_CPU,,,,,\n"
        "bert,t4,3,9,,yes,,,,\n"
        "bert,t4,4,9,,,100,2 4,,\n"
        "bert,t4,5,9,,,,,2,\n"
        'bert,t4,6,9,,,,,,"[{model: det, instance_count: 2}]"\n'
    )
    table = a_table(tmp_path, text)
    assert [(m.throughput, str(m.variant)) for m in table.measurements] == [
        (1, "as configured"),
        (2, "KIND_CPU"),
        (3, "dynamic_batching=0us"),
        (4, "dynamic_batching=100us"),
        (5, "intra_op_thread_count=2"),
        (6, "det(instances=2)"),
    ]
    assert table.measurements[3].variant.dynamic_batching.preferred_batch_sizes == (2, 4)


@pytest.mark.parametrize(
    ("column", "cell", "named"),
    [
        ("kind", "KIND_TPU", "line 2: kind: 'KIND_TPU' is none of KIND_AUTO, KIND_CPU"),
        ("dynamic_batching", "maybe", "line 2: dynamic_batching: expected yes or no"),
        ("preferred_batch_sizes", "2 x", "line 2: preferred_batch_sizes: expected integers"),
        ("members", "[{modell: a}]", "line 2: members: .*modell"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_named(tmp_path, column, cell, named):
    text = f"model,device_type,throughput,memory_mb,{column}\nbert,t4,1,9,{cell}\n"
    with pytest.raises(InputError, match=named):
        a_table(tmp_path, text)


def test_a_table_of_which_nothing_can_be_read_is_an_error_even_so(tmp_path):
    with pytest.raises(InputError, match="line 2: throughput must be above zero"):
        a_table(tmp_path, f"{HEADER}bert,t4,0,1309,50,1\n", strict=False)


def test_a_device_type_for_rows_that_name_none(tmp_path):
    (tmp_path / "t.csv").write_text("model,throughput,memory_mb\nbert,1,9\n")
    (measurement,) = read_table(tmp_path / "t.csv", device_type="Tesla T4").measurements
    assert measurement.device_type == "Tesla T4"
