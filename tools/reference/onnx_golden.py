"""Writes ONNX files with the official Python package, and their contents as JSON, for src/onnx/decode.test.ts.

Run from the repository root:  python tools/reference/onnx_golden.py     (needs: onnx, numpy)

raw.onnx    every attribute kind, every element type as raw_data, a subgraph, named and unknown dimensions
typed.onnx  the same tensors in the typed lists (float_data, int32_data, int64_data, ...)
golden.json    names, shapes and values of both
"""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

out = pathlib.Path("src/onnx/fixtures")
out.mkdir(parents=True, exist_ok=True)

values = {
    "f32": (TensorProto.FLOAT, np.array([[1.5, -2.25, np.inf], [0.0, 1e-45, 3.4e38]], np.float32)),
    "f64": (TensorProto.DOUBLE, np.array([1.1, -1e300], np.float64)),
    "f16": (TensorProto.FLOAT16, np.array([1.0, -0.5, 65504.0], np.float16)),
    "i8": (TensorProto.INT8, np.array([-128, 127], np.int8)),
    "u8": (TensorProto.UINT8, np.array([0, 255], np.uint8)),
    "u16": (TensorProto.UINT16, np.array([0, 65535], np.uint16)),
    "i32": (TensorProto.INT32, np.array([[-(2**31)], [2**31 - 1]], np.int32)),
    "u32": (TensorProto.UINT32, np.array([0, 2**32 - 1], np.uint32)),
    "i64": (TensorProto.INT64, np.array([-(2**63), -1, 0, 1, 2**53 + 1, 2**63 - 1], np.int64)),
    "bool": (TensorProto.BOOL, np.array([True, False, True])),
    "scalar": (TensorProto.FLOAT, np.array(7.0, np.float32)),
    "empty": (TensorProto.FLOAT, np.zeros((0, 3), np.float32)),
}


def typed(name, code, array):
    """Makes a tensor with its elements in the list that ONNX defines for their type."""
    if code == TensorProto.FLOAT16:
        proto = TensorProto(name=name, data_type=code, dims=array.shape)
        proto.int32_data.extend(int(x) for x in array.view(np.uint16))
        return proto
    return helper.make_tensor(name, code, array.shape, array.flatten().tolist())


def raw(name, code, array):
    return numpy_helper.from_array(array, name)


def bf16(make_raw):
    bits = np.array([0x3F80, 0xC000, 0x7F80], np.uint16)
    if make_raw:
        return helper.make_tensor("bf16", TensorProto.BFLOAT16, [3], bits.tobytes(), raw=True)
    proto = TensorProto(name="bf16", data_type=TensorProto.BFLOAT16, dims=[3])
    proto.int32_data.extend(int(x) for x in bits)
    return proto


def model(make):
    branch = lambda name, op: helper.make_graph(
        [helper.make_node(op, ["x"], [name])],
        name,
        [],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3])],
    )
    nodes = [
        helper.make_node("If", ["flag"], ["y"], then_branch=branch("t", "Neg"), else_branch=branch("e", "Abs")),
        helper.make_node(
            "Everything",
            ["x", "", "f32"],
            ["z", ""],
            name="every kind",
            domain="undrift.test",
            doc_string="all kinds of attributes",
            a_int=-3,
            b_big=-(2**63),
            c_float=0.5,
            d_string="größe",
            e_ints=[1, -1, 2**40],
            f_floats=[0.25, -1.5],
            g_strings=["a", ""],
            h_tensor=make("t", TensorProto.INT64, np.array([3, -1], np.int64)),
            i_zero=0,
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "golden",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
            helper.make_tensor_value_info("open", TensorProto.INT64, ["batch", None]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, None),
        ],
        initializer=[make(name, *v) for name, v in values.items()] + [bf16(make is raw)],
        value_info=[helper.make_tensor_value_info("hidden", TensorProto.FLOAT16, ["batch", 4])],
    )
    proto = helper.make_model(
        graph,
        producer_name="undrift-golden",
        producer_version="1",
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("undrift.test", 1)],
    )
    helper.set_model_props(proto, {"key": "value"})
    return proto


(out / "raw.onnx").write_bytes(model(raw).SerializeToString(deterministic=True))
(out / "typed.onnx").write_bytes(model(typed).SerializeToString(deterministic=True))


def plain(array):
    """Returns elements as JSON: half precision as bits, integers as decimal strings, others as text that parses to the same value."""
    if array.dtype == np.float16:
        return [str(x) for x in array.view(np.uint16).flatten()]
    if array.dtype.kind == "f":
        return [repr(float(x)) for x in array.flatten()]
    return [str(int(x)) for x in array.flatten()]


expected = {name: {"dims": list(v.shape), "values": plain(v)} for name, (_, v) in values.items()}
expected["bf16"] = {"dims": [3], "values": [str(x) for x in (0x3F80, 0xC000, 0x7F80)]}
(out / "golden.json").write_text(json.dumps({"onnx": onnx.__version__, "tensors": expected}, indent=1) + "\n")
