"""A model that gives back what it is given."""

from pathlib import Path

CODE = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([
                pb_utils.Tensor("OUT", pb_utils.get_input_tensor_by_name(request, "IN").as_numpy())
            ])
            for request in requests
        ]
"""
TENSORS = """
input { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }
"""
CONFIG = f"""
backend: "python"
{TENSORS}
instance_group {{ count: 1 kind: KIND_CPU }}
"""


def write(repository: Path, name: str, config: str = CONFIG) -> None:
    """Put it into a model repository under this name."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / "model.py").write_text(CODE)
    (repository / name / "config.pbtxt").write_text(config)
