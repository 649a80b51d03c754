"""ONNX files of plain networks, written directly: PyTorch's exporter takes seconds for each architecture."""

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET, IR_VERSION = 18, 10
"""Of the files; fixed, so that the same network gives the same bytes with every version of the `onnx` package."""


def plain_model(network: nn.Sequential, shape: Sequence[int]) -> onnx.ModelProto:
    """Return a network that `is_stackable` accepts as an ONNX model.

    Args:
        network: on the CPU.
        shape: `(C, H, W)` of one image.

    Returns:
        The model: `input` `(batch, C, H, W)` to `scores` `(batch, classes)`; weights have the network's own names.
    """
    nodes, values = [], "input"
    classes = 0
    for name, layer in network.named_children():
        output = f"{name}.output"
        if isinstance(layer, nn.Conv2d):
            pads = [int(side) for side in layer.padding] * 2
            inputs = [values, f"{name}.weight", f"{name}.bias"]
            node = helper.make_node(
                "Conv", inputs, [output], kernel_shape=layer.kernel_size, strides=layer.stride, pads=pads
            )
            nodes.append(node)
        elif isinstance(layer, nn.Linear):
            inputs = [values, f"{name}.weight", f"{name}.bias"]
            nodes.append(helper.make_node("Gemm", inputs, [output], transB=1))
            classes = layer.out_features
        elif isinstance(layer, nn.Flatten):
            nodes.append(helper.make_node("Flatten", [values], [output], axis=1))
        else:
            nodes.append(helper.make_node("Relu", [values], [output]))
        values = output
    nodes[-1].output[0] = "scores"
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(value.numpy(), name) for name, value in network.state_dict().items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    model.producer_name = "fpverify-generator"
    return model
