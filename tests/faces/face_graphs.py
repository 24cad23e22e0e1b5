"""Tiny ONNX graphs with random weights, of the shapes that released ones have; pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def save(model: onnx.ModelProto, path: Path) -> tuple[Path, str]:
    """The file and its SHA-256."""
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def read_rgb(path: Path) -> np.ndarray:
    """`(H, W, 3)` uint8."""
    bgr = cv2.imread(str(path))
    assert bgr is not None, f"expected a picture at {path}"
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def embedder(batch: int | str, dimensions: int, seed: int = 0) -> onnx.ModelProto:
    """Pictures `(batch, 3, 112, 112)` pooled to 7 x 7 and multiplied by a random matrix."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(3 * 7 * 7, dimensions)).astype(np.float32)
    nodes = [
        helper.make_node(
            "AveragePool", ["data"], ["small"], kernel_shape=[16, 16], strides=[16, 16]
        ),
        helper.make_node("Flatten", ["small"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["fc1"]),
    ]
    return _model(
        nodes,
        ("data", [batch, 3, 112, 112]),
        [("fc1", [batch, dimensions])],
        {"weights": weights},
    )


def scrfd(seed: int = 0) -> onnx.ModelProto:
    """Random heads on an averaged picture: nine outputs, two anchors a cell, no batch axis."""
    rng = np.random.default_rng(seed)
    nodes, values = [], {}
    outputs: list[tuple[str, list[int | str]]] = []
    for kind, channels in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            name = f"{kind}_{stride}"
            values[f"w_{name}"] = rng.normal(0, 1, (2 * channels, 3, 1, 1)).astype(np.float32)
            values[f"shape_{name}"] = np.array([-1, channels], np.int64)
            nodes += _head(name, stride, squash=kind == "score")
            outputs.append((name, ["cells", channels]))
    return _model(nodes, ("input.1", [1, 3, "height", "width"]), outputs, values)


def _head(name: str, stride: int, *, squash: bool) -> list[onnx.NodeProto]:
    pool = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
    squeezed = helper.make_node("Sigmoid" if squash else "Relu", [f"c_{name}"], [f"s_{name}"])
    return [
        helper.make_node("AveragePool", ["input.1"], [f"p_{name}"], **pool),
        helper.make_node("Conv", [f"p_{name}", f"w_{name}"], [f"c_{name}"]),
        squeezed,
        helper.make_node("Transpose", [f"s_{name}"], [f"t_{name}"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"t_{name}", f"shape_{name}"], [name]),
    ]


def _model(
    nodes: list[onnx.NodeProto],
    given: tuple[str, list[int | str]],
    outputs: list[tuple[str, list[int | str]]],
    values: dict[str, np.ndarray],
) -> onnx.ModelProto:
    def described(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    stored = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(
        nodes, "tiny", [described(*given)], [described(*out) for out in outputs], stored
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
