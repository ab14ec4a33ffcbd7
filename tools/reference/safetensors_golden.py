"""Writes safetensors files with the official Python package, for src/io/safetensors.test.ts.

Run from the repository root:  python tools/reference/safetensors_golden.py     (needs: safetensors, numpy, torch)

golden.safetensors        every element type of numpy, and names that need care
bf16.safetensors          bfloat16, by torch
"""

import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

out = pathlib.Path("src/io/fixtures")
out.mkdir(parents=True, exist_ok=True)

save_file(
    {
        "weight": np.array([[1.5, -2.0, 0.25], [0.0, np.inf, -1e-45]], np.float32),
        "half": np.array([1.0, -0.5, 65504.0], np.float16),
        "double": np.array([1.1, -1e300], np.float64),
        "ids": np.array([-(2**63), -1, 2**63 - 1], np.int64),
        "i32": np.array([-(2**31), 2**31 - 1], np.int32),
        "u32": np.array([2**32 - 1], np.uint32),
        "u16": np.array([65535, 0, 1], np.uint16),
        "i8": np.array([-128, 127], np.int8),
        "u8": np.array([0, 255, 7], np.uint8),
        "mask": np.array([True, False, True]),
        "scalar": np.array(7.0, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "10": np.array([10.0], np.float32),
        'größe "x"\\': np.array([2.0], np.float32),
    },
    out / "golden.safetensors",
    metadata={"format": "pt"},
)
save_torch(
    {"b": torch.tensor([[1.0, -2.0]], dtype=torch.bfloat16), "f": torch.tensor([3.0])},
    out / "bf16.safetensors",
    metadata={"format": "pt"},
)
