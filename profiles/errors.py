"""What can go wrong, as one tree.

    ModelPlacerError
    ├── InputError              bad usage or bad input                  exit code 2
    │   └── LeftOutError        some models are; the others were measured
    ├── NoAnswerError           the answer is no: nothing fits,         exit code 1
    │                           or a layout does not hold
    └── SurroundingsError       Triton, Docker, GPU or disk failed      exit code 3
        ├── ServerError         Triton did not start, or died
        ├── LoadError           Triton refused to load a model
        └── StoreError          the profile store is locked, or its disk is full

Only the command line turns these into exit codes.
"""


class ModelPlacerError(Exception):
    """Any error that Model Placer raises on purpose; its text is fit for the user."""


class InputError(ModelPlacerError):
    """The input is wrong; the text names the file, the field and the remedy."""


class LeftOutError(InputError):
    """Some models cannot be measured as they are; all others were, and are in the store."""


class NoAnswerError(ModelPlacerError):
    """The question was well put and the answer is no."""


class SurroundingsError(ModelPlacerError):
    """Something outside this program failed: Triton, Docker, a GPU, a disk, the package index."""


class ServerError(SurroundingsError):
    """Triton did not start, stopped answering or died; the text ends with its own words."""


class LoadError(SurroundingsError):
    """Triton refused to load a model; the text ends with its own words."""


class StoreError(SurroundingsError):
    """The profile store is locked by another program, or its disk is full or failed."""
