"""Takes its time to load."""

import time


class TritonPythonModel:
    def initialize(self, args):
        time.sleep(1)

    def execute(self, requests):
        return []
