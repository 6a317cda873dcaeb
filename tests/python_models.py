"""Python models for tests, written where they are needed."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent, indent

IMPORTS = "import json, os, threading, time\nimport numpy as np\n"
ECHO = """
array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)])
"""


def add_model(repository: Path, name: str, answer: str = ECHO, config: str = "") -> Path:
    """A model on the CPU that answers each request by the body `answer`; its directory.

    It takes and gives one FP32 tensor of open length, unless `config` says otherwise.
    """
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(
        f"{IMPORTS}import triton_python_backend_utils as pb_utils\n\n\n"
        "class TritonPythonModel:\n"
        "    def initialize(self, args):\n        self.args = args\n\n"
        "    def execute(self, requests):\n        answers = [self.answer(r) for r in requests]\n"
        "        return answers if answers[0] is not None else None\n\n"
        f"    def answer(self, request):\n{indent(dedent(answer), ' ' * 8)}"
    )
    text = f'name: "{name}" backend: "python"\n{config}\n'
    if not re.search(r"^\s*input\b", config, re.MULTILINE):
        text += 'input { name: "IN" data_type: TYPE_FP32 dims: [ 4 ] }\n'
        text += 'output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }\n'
    if "instance_group" not in config and "ensemble" not in config:
        text += "instance_group { kind: KIND_CPU }\n"
    (folder / "config.pbtxt").write_text(text)
    return folder
