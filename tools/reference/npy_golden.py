"""Writes .npy files with numpy, as base64 in src/io/fixtures/npy.json, for src/io/npy.test.ts.

Run from the repository root:  python tools/reference/npy_golden.py     (needs: numpy)
"""

import base64
import io
import json
import pathlib
import warnings

import numpy as np

warnings.simplefilter("ignore")
counting = np.arange(6, dtype=np.float32).reshape(2, 3)
arrays = {
    "f32": counting,
    "f64": np.array([1.1, -1e300]),
    "f16": np.array([1.0, -0.5, 65504.0], np.float16),
    "i64": np.array([-(2**63), 2**63 - 1]),
    "i32": np.array([-(2**31), 2**31 - 1], np.int32),
    "i8": np.array([-128, 127], np.int8),
    "u8": np.array([0, 255], np.uint8),
    "u16": np.array([65535], np.uint16),
    "u32": np.array([2**32 - 1], np.uint32),
    "bool": np.array([True, False]),
    "scalar": np.array(7.0, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "deep": np.arange(24, dtype=np.int32).reshape(2, 3, 4),
    "fortran-vector": np.asfortranarray(np.array([1.0, 2.0], np.float32)),
    "fortran": np.asfortranarray(counting),
    "big-endian": counting.astype(">f4"),
    "object": np.array([{}, None], object),
    "structured": np.zeros(2, [("a", "<f4"), ("b", "<i4")]),
    "complex": np.zeros(2, np.complex64),
    "text": np.array(["ab", "c"]),
}


def encode(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return base64.b64encode(file.getvalue()).decode()


files = {name: encode(array) for name, array in arrays.items()}
files["version 2"] = encode(counting, (2, 0))
files["version 3"] = encode(counting, (3, 0))
# A header that is already aligned. numpy then pads it with a whole block of 64 spaces.
files["aligned"] = encode(np.zeros((1,) * 15, np.float32))
out = pathlib.Path("src/io/fixtures/npy.json")
out.write_text(json.dumps({"numpy": np.__version__, "files": files}, indent=1) + "\n")
