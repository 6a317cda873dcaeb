"""A PyTorch network of known memory on the GPU, in Triton's Python backend.

Its parameters:

network       resnet50, transformer (of BERT's size) or segmentation; weights are random
size          full, or small for a CPU
packages      the directory that PyTorch is in; it must be of the server's own Python version
told          a directory where each process tells what memory PyTorch holds, or empty
fault         what goes wrong: load_memory, request_memory, device, or empty

Where the GPU is a pretended one, the network runs on the CPU, or without PyTorch only waits, and
memory and time are entered with the pretended NVML.
"""

import ctypes
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

CONTEXT_BYTES = 300_000_000  # pretended, of each process
WEIGHTS_BYTES = {"resnet50": 102_000_000, "transformer": 438_000_000, "segmentation": 31_000_000}
SERVICE_S = {"resnet50": 0.004, "transformer": 0.008, "segmentation": 0.006}
TOO_MUCH_BYTES = 1 << 50


class TritonPythonModel:  # noqa: D101
    def initialize(self, args):
        given = json.loads(args["model_config"])["parameters"]
        self.given = {key: value["string_value"] for key, value in given.items()}
        self.kept = []  # what a fault has taken
        self.broken = False
        library = os.environ.get("PRETENDED_NVML_LIBRARY")
        self.pretended = ctypes.CDLL(library) if library else None
        self.torch = None
        if self.given["packages"]:
            sys.path.append(self.given["packages"])
            import torch

            torch.set_num_threads(1)
            self.torch = torch
            self.device = torch.device("cpu" if self.pretended else "cuda")
            network = make(torch, self.given["network"], self.given["size"] == "full")
            self.network = network.eval().to(self.device)
            self.weights_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
        else:
            self.weights_bytes = WEIGHTS_BYTES[self.given["network"]]
        if self.given["fault"] == "load_memory":
            self.take(TOO_MUCH_BYTES)
        self.hold(self.weights_bytes)
        self.tell()

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        start_ns = time.time_ns()
        try:
            if self.given["fault"] == "request_memory":
                self.take(TOO_MUCH_BYTES)
            if self.given["fault"] == "device":
                self.fault()
            given = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
            if self.torch is None:
                time.sleep(SERVICE_S[self.given["network"]])
                result = np.zeros((len(given), 1), np.float32)
            else:
                with self.torch.inference_mode():
                    tensor = self.torch.from_numpy(given.copy()).to(self.device)
                    result = self.network(tensor).flatten(1)[:, :1].cpu().numpy()
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        self.hold(self.weights_bytes * 5 // 4)
        if self.pretended:
            end_ns = time.time_ns()
            self.pretended.pretended_busy(
                0, ctypes.c_uint64(start_ns // 1000), ctypes.c_uint64(end_ns // 1000), 30
            )
        self.tell()
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", result.astype(np.float32))])

    def take(self, amount):
        """Take memory of the device that it does not have."""
        if self.pretended:
            self.hold(amount)
        else:
            self.kept.append(self.torch.empty(amount, dtype=self.torch.uint8, device=self.device))

    def fault(self):
        """Break the context, as a kernel does that reads past its memory: all calls fail then."""
        if self.pretended:
            self.broken = True
            raise RuntimeError("CUDA error: an illegal memory access was encountered (pretended)")
        table = self.torch.zeros(8, device=self.device)
        table[self.torch.full((8,), 1 << 40, device=self.device)].sum().item()

    def hold(self, amount):
        if self.pretended and not self.pretended.pretended_hold(
            0, os.getpid(), ctypes.c_uint64(CONTEXT_BYTES + amount)
        ):
            raise MemoryError("CUDA error: out of memory (pretended)")
        self.held = amount

    def tell(self):
        """Write what PyTorch holds: as the model was loaded, and the most since."""
        if not self.given["told"]:
            return
        file = Path(self.given["told"]) / f"{os.getpid()}.json"
        most = self.held if self.pretended else self.torch.cuda.max_memory_reserved()
        known = json.loads(file.read_text()) if file.exists() else {"cold": most, "most": 0}
        if most > known["most"]:
            part = file.with_suffix(".part")
            part.write_text(json.dumps({"cold": known["cold"], "most": most}))
            part.replace(file)


def make(torch, name, full):
    """The network; plain torch, so that nothing else must be there."""
    nn = torch.nn

    class Bottleneck(nn.Module):
        def __init__(self, inner, width, stride):
            super().__init__()
            self.way = nn.Sequential(
                *convolution(inner, width, 1, 1),
                nn.ReLU(),
                *convolution(width, width, 3, stride),
                nn.ReLU(),
                *convolution(width, 4 * width, 1, 1),
            )
            same = inner == 4 * width and stride == 1
            self.beside = (
                nn.Identity() if same else nn.Sequential(*convolution(inner, 4 * width, 1, stride))
            )

        def forward(self, x):
            return torch.relu(self.way(x) + self.beside(x))

    def convolution(inner, outer, kernel, stride):
        yield nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False)
        yield nn.BatchNorm2d(outer)

    def resnet50():
        blocks, inner = [], 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for number in range(count):
                blocks.append(Bottleneck(inner, width, stride if number == 0 else 1))
                inner = 4 * width
        return nn.Sequential(
            *convolution(3, 64, 7, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2048, 1000),
        )

    def transformer():
        width, layers, words = (768, 12, 30522) if full else (128, 2, 1000)
        layer = nn.TransformerEncoderLayer(
            width, width // 64, 4 * width, activation="gelu", batch_first=True
        )
        encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        return nn.Sequential(nn.Embedding(words, width), encoder, nn.Linear(width, 2))

    def segmentation():
        width = 64 if full else 8
        down = [*convolution(1, width, 3, 1), nn.ReLU()]
        for step in (1, 2, 4):
            down += [*convolution(step * width, 2 * step * width, 3, 2), nn.ReLU()]
        up = []
        for step in (8, 4, 2):
            up += [nn.ConvTranspose2d(step * width, step * width // 2, 2, 2), nn.ReLU()]
        return nn.Sequential(*down, *up, nn.Conv2d(width, 2, 1))

    return {"resnet50": resnet50, "transformer": transformer, "segmentation": segmentation}[name]()
