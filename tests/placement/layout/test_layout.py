from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.layout import Layout, PlacedDevice, Resident
from placement.layout import layout as layouts
from profiles.errors import InputError
from profiles.measurement import LoadPoint
from profiles.model_name import unfit_for_path
from profiles.variant import DynamicBatching, Variant

VARIANT = Variant("bert", 8, 2, "KIND_GPU", DynamicBatching((4, 8), 100), (("threads", "2"),))
RESIDENT = Resident(
    "bert", "i2 b8 c4", 0.5, 120.25, {"memory": 2.5e9}, 12.5, VARIANT, LoadPoint(8, 4)
)
LAYOUT = Layout(
    (
        PlacedDevice(
            "gpu-1", "Tesla T4", (RESIDENT,), {"memory": 2.9e9}, {"memory": 16e9}, "a", 0.5
        ),
        PlacedDevice("gpu-2/1g.5gb-1", "MIG 1g.5gb", (), parent="gpu-2", price=2.0),
        PlacedDevice("gpu-2/1g.5gb-2", "MIG 1g.5gb", (), parent="gpu-2", price=2.0),
    ),
    units={"memory": "bytes"},
)


def test_a_layout_comes_back_from_yaml_as_it_was(tmp_path):
    layouts.save(LAYOUT, tmp_path / "layout.yaml")
    assert layouts.load(tmp_path / "layout.yaml") == LAYOUT


def test_slices_of_one_gpu_pay_its_price_once():
    """0.5 for gpu-1 and 2.0 for gpu-2, whose two slices are one physical device."""
    assert LAYOUT.price == 2.5
    assert LAYOUT.gpu_count == 2


@given(
    st.text(min_size=1).filter(lambda name: name.isprintable() and unfit_for_path(name) is None),
    st.floats(0, 1),
    st.floats(0, 1e9),
    st.dictionaries(
        st.from_regex("[a-z_]{1,8}", fullmatch=True),
        st.floats(0, 1e18),
    ),
)
def test_any_name_and_figure_survives_the_file(name, share, rate, uses):
    layout = Layout((PlacedDevice(name, name, (Resident(name, name, share, rate, uses),)),))
    assert layouts.loads(layouts.dumps(layout)) == layout


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (("share: 0.5", "share: 1.5"), r"devices\[0\] \(gpu-1\).residents\[0\] \(bert\).share"),
        (("share: 0.5", "share: much"), r"devices\[0\].residents\[0\].share"),
        (("share: 0.5", "shares: 0.5"), "shares"),
        (("name: gpu-2/1g.5gb-1", "name: gpu-1"), r"devices\[1\].*another device"),
        (("schema_version: 1", "schema_version: 7"), "schema_version is 7"),
        (("devices:", "things:"), "no `devices`"),
        (
            ("device_type: Tesla T4", "kind: Tesla T4"),
            r"device_type.*devices\[0\]|devices\[0\].*device_type",
        ),
        (("units:", "units: ]"), r"line \d+, column \d+"),
        (("rate: 120.25", "rate: -1"), r"rate: must lie between 0 and"),
        (("rate: 120.25", "rate: .inf"), r"rate: must lie between 0 and"),
        (("rate: 120.25", "rate: .nan"), r"rate: must lie between 0 and"),
    ],
)
def test_a_broken_layout_names_the_field(edit, named):
    text = layouts.dumps(LAYOUT)
    assert edit[0] in text
    with pytest.raises(InputError, match=named):
        layouts.loads(text.replace(*edit, 1), "layout.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: No such file"):
        layouts.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), -1.0, 1e300])
@pytest.mark.parametrize("place", ["rate", "latency_ms", "uses", "kept", "share"])
def test_a_figure_that_nothing_can_have_is_refused(place: str, figure: float):
    """Infinite rates were driven, and `nan` was shown as a difference of `+nan%`."""
    value = {"memory": figure} if place == "uses" else figure
    device = PlacedDevice("gpu", "T4", (replace(Resident("bert", "a"), **{place: value}),))
    with pytest.raises(InputError, match=place):
        layouts.loads(layouts.dumps(Layout((device,))))


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), -1.0, 1e300])
@pytest.mark.parametrize("place", ["price", "uses", "capacity"])
def test_a_device_of_such_figures_is_refused(place: str, figure: float):
    value = figure if place == "price" else {"memory": figure}
    device = replace(PlacedDevice("gpu", "T4", ()), **{place: value})
    with pytest.raises(InputError, match=place):
        layouts.loads(layouts.dumps(Layout((device,))))


@pytest.mark.parametrize(
    "load",
    [
        LoadPoint(batch_size=0),
        LoadPoint(batch_size=-1),
        LoadPoint(concurrency=-3),
        LoadPoint(concurrency=10**12),
        LoadPoint(concurrency=None),
        LoadPoint(concurrency=1, request_rate=5.0),
        LoadPoint(concurrency=None, request_rate=float("inf")),
        LoadPoint(concurrency=None, request_rate=-1.0),
        LoadPoint(sequence_length=0),
    ],
)
def test_a_load_that_cannot_be_driven_is_refused(load: LoadPoint):
    device = PlacedDevice("gpu", "T4", (Resident("bert", "a", load=load),))
    with pytest.raises(InputError, match="load"):
        layouts.loads(layouts.dumps(Layout((device,))))
