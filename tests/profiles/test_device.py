import pytest

from profiles.device import find_device, known_devices, parse_bytes
from profiles.errors import InputError
from profiles.mig import MigProfile, largest, partitions


def test_a_device_is_found_by_its_nvml_name_or_without_the_vendor():
    assert find_device("Tesla T4").memory_bytes == 15360 * 2**20
    assert find_device("a100-sxm4-80gb").name == "NVIDIA A100-SXM4-80GB"


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'Tesla T4'"):
        find_device("Tesla T44")


def test_a30_can_be_cut_as_nvidia_lists():
    """Four slices: 4g; 2g + 2g; 2g + 1g + 1g; four of 1g."""
    cuts = partitions(find_device("NVIDIA A30").mig)
    assert set(cuts) == {
        ("4g.24gb",),
        ("2g.12gb", "2g.12gb"),
        ("1g.6gb", "1g.6gb", "2g.12gb"),
        ("1g.6gb",) * 4,
    }


def test_no_cut_of_an_a100_takes_more_than_its_seven_compute_slices():
    for device in known_devices().values():
        for cut in partitions(device.mig):
            assert sum(int(profile[0]) for profile in cut) <= 7, (device.name, cut)


def test_instances_that_overlap_are_no_partition():
    """3g may start at 0 or 4, 4g at 0: both together only as 4g, 3g."""
    profiles = (MigProfile("3g", 1, 4, (0, 4)), MigProfile("4g", 1, 4, (0,)))
    assert partitions(profiles) == (("3g", "3g"), ("3g", "4g"))


def test_a_set_within_another_is_dropped():
    assert largest([("a",), ("a", "b"), ("b", "a"), ()]) == (("a", "b"),)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("16GB", 16e9),
        ("15360MiB", 15360 * 2**20),
        ("512 mb", 512e6),
        (1024, 1024),
        ("1.5TB", 1.5e12),
    ],
)
def test_amounts_of_memory(text, amount):
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["16 gigs", "", "-1GB", "1.2.3GB"])
def test_what_is_no_amount_of_memory(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_bytes(text)
