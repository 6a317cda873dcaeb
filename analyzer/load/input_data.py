"""Real input data: perf_analyzer's JSON format, or a directory with a file per input.

In a directory `INPUT` or `INPUT.bin` has a tensor's bytes, `INPUT.npy` a NumPy array with its own
type and shape; of a BYTES input `INPUT` or `INPUT.txt` has text with one element per line, and what
is no text (`INPUT.jpg`) is one element.

The format is that of perf_analyzer's docs/input_data.md: `{"data": [{INPUT: tensor, ...}, ...]}`,
where a tensor is a list of values in row-major order, `{"b64": text}`, or
`{"content": either of these, "shape": [...]}`; shapes leave out the batch. Lists in place of the
objects are the steps of sequences; a model that is not stateful gets all steps one after another.
"""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiles.document import parse_json, read_text
from profiles.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


NPY = b"\x93NUMPY"  # what a .npy file begins with


@dataclass(frozen=True)
class Given:
    """A tensor given in a file."""

    values: Sequence[Any] | bytes | NDArray[Any]  # flat or nested; over the wire; of a .npy file
    shape: tuple[int, ...] | None  # without the batch; None: as the model or --shape says
    where: str  # for messages

    def array(self, datatype: str, shape: Sequence[int]) -> NDArray[Any]:
        """The tensor in this shape; raises InputError when the values do not match it."""
        import numpy as np
        from tritonclient.utils import triton_to_np_dtype

        dtype = triton_to_np_dtype(datatype)
        try:
            if isinstance(self.values, np.ndarray):
                return _cast(self.values, dtype).reshape(shape)
            if isinstance(self.values, bytes) and datatype == "BYTES":
                return _elements(self.values, shape)
            if isinstance(self.values, bytes):
                return np.frombuffer(self.values, dtype).reshape(shape)
            values = list(_flat(self.values))
            if datatype == "BYTES":
                values = [str(value).encode() for value in values]
            with np.errstate(over="raise"):  # 1e308 would become infinity in FP32
                return np.array(values, dtype=dtype).reshape(shape)
        except (ValueError, TypeError, ArithmeticError, struct.error) as error:
            raise InputError(
                f"{self.where} is not a {datatype} tensor of shape {list(shape)}: {error}"
            ) from None


def read(path: Path, datatypes: Mapping[str, str]) -> list[dict[str, Given]]:
    """The entries of a file or directory, in order; see `read_sequences`."""
    return [entry for entries in read_sequences(path, datatypes)[0] for entry in entries]


def read_sequences(
    path: Path, datatypes: Mapping[str, str]
) -> tuple[list[list[dict[str, Given]]], bool]:
    """The entries of a file or directory by sequence, and whether the data says which these are.

    Data that does not say so is one sequence of all entries.

    Parameters
    ----------
    path
        A JSON file, or a directory with one file per input.
    datatypes
        Triton's data type of each input of the model.

    Raises
    ------
    InputError
        The file is missing, is not in the format, or names an input that the model lacks.
    """
    try:
        found = ([[_read_directory(path, datatypes)]], False) if path.is_dir() else _read_json(path)
    except OSError as error:
        raise InputError(f"--input-data {path}: {error.strerror or error}") from None
    for number, entry in enumerate(entry for entries in found[0] for entry in entries):
        for name in entry:
            if name not in datatypes:
                raise InputError(
                    f"--input-data {path}: entry {number}: unknown input {name!r}. "
                    f"Inputs of the model: {', '.join(datatypes)}."
                )
    return found


def check(path: Path) -> None:
    """Raise InputError when a file is missing or not in the format, whatever the model."""
    try:
        if path.is_dir():
            path.iterdir()
        else:
            _read_json(path)
    except OSError as error:
        raise InputError(f"--input-data {path}: {error.strerror or error}") from None


def _read_directory(path: Path, datatypes: Mapping[str, str]) -> dict[str, Given]:
    entry = {}
    for file in sorted(path.iterdir()):
        where = f"--input-data {file}"
        name = file.name if file.name in datatypes else file.stem
        name = name if name in datatypes else file.name
        if name in entry:
            raise InputError(f"{where}: input {name} has another file in the directory.")
        content = file.read_bytes()
        if content.startswith(NPY):
            array = _npy(content, where)
            entry[name] = Given(array, array.shape, where)
        elif datatypes.get(name) == "BYTES":
            entry[name] = Given(_lines(content), None, where)
        else:
            entry[name] = Given(content, None, where)
    if not entry:
        raise InputError(f"--input-data {path}: the directory is empty")
    return entry


def _npy(content: bytes, where: str) -> NDArray[Any]:
    """The array of a .npy file; raises InputError where it is none that a tensor could be."""
    import numpy as np

    try:
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{where} is not a NumPy array of numbers or text: {error}") from None
    return array


def _cast(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The array in a tensor's type; raises TypeError where that would change its values' kind."""
    import numpy as np

    if dtype == np.object_:
        elements = [
            v if isinstance(v, bytes) else str(v).encode() for v in array.flatten().tolist()
        ]
        return np.array(elements, dtype=np.object_)
    return array.astype(dtype, casting="same_kind")


def _lines(content: bytes) -> list[str] | bytes:
    """The lines of a text; what is no text is one element, an image's bytes, say."""
    try:
        return content.decode().splitlines()
    except UnicodeDecodeError:
        return content


def _elements(content: bytes, shape: Sequence[int]) -> NDArray[Any]:
    """The elements of a BYTES tensor as it goes over the wire; else the whole, if it has one.

    Raises ValueError or struct.error where it is neither.
    """
    import numpy as np
    from tritonclient.utils import deserialize_bytes_tensor

    wanted = math.prod(shape)
    try:
        found = np.array(deserialize_bytes_tensor(content), dtype=np.object_)
        if len(found) == wanted and sum(map(len, found)) + 4 * wanted == len(content):
            return found.reshape(shape)
    except (ValueError, struct.error):
        if wanted != 1:
            raise
    if wanted != 1:
        raise ValueError(f"it has {len(found)} elements")
    return np.array([content], dtype=np.object_).reshape(shape)


def _read_json(path: Path) -> tuple[list[list[dict[str, Given]]], bool]:
    where = f"--input-data {path}"
    document = parse_json(read_text(path), where)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not data:
        raise InputError(f'{where}: the list "data" is missing or empty')
    told = any(isinstance(entry, list) for entry in data)
    groups = [entry if isinstance(entry, list) else [entry] for entry in data] if told else [data]
    number = itertools.count()
    return [
        [_read_step(step, where, next(number)) for step in group] for group in groups if group
    ], told


def _read_step(step: Any, where: str, number: int) -> dict[str, Given]:
    if not isinstance(step, dict):
        raise InputError(f"{where}: entry {number} is not an object that maps inputs to tensors")
    return {
        name: _given(value, f"{where}: {name} in entry {number}") for name, value in step.items()
    }


def _given(value: Any, where: str) -> Given:
    shape = None
    if isinstance(value, dict):
        shape = value.get("shape")
        if shape is not None and not (
            isinstance(shape, list) and all(isinstance(dim, int) and dim >= 0 for dim in shape)
        ):
            raise InputError(f"{where}: the shape is not a list of integers")
        value = value.get("content", value)
    if isinstance(value, dict) and isinstance(value.get("b64"), str):
        try:
            text = "".join(value["b64"].split()).rstrip("=")
            value = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise InputError(f"{where} is not base64: {error}") from None
    if isinstance(value, (int, float, str, bool)):
        value = [value]
    if not isinstance(value, (list, bytes)):
        raise InputError(f'{where} is neither a list of values nor {{"b64": text}}')
    return Given(value, None if shape is None else tuple(shape), where)


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value
