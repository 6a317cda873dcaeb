import os
import time

from analyzer.devices.cpu_utilization import BusyShare


def test_one_busy_processor_is_its_share_of_the_host():
    """This process keeps one busy for half a second; others may be busy as well."""
    busy, start_s = BusyShare(), time.process_time()
    while time.process_time() - start_s < 0.5:
        pass
    assert 0.8 / (os.cpu_count() or 1) < busy.now() <= 1.0
