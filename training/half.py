"""Store a network's weights in half precision; it still computes in single, with the weights rounded.

python -m training.half MODEL.onnx OUT.onnx
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Smaller ones (offsets, calibration) are worth more than the bytes they take.
FEWEST_NUMBERS = 256
HALVED = ".half"  # what the name of a weight stored so ends with


def halved(model: Any) -> Any:
    """Return a model whose large float32 weights lie in it as float16, each behind a cast that is done once, when it is opened."""
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type == TensorProto.FLOAT and values.size >= FEWEST_NUMBERS:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}{HALVED}"))
            casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def main(arguments: list[str] | None = None) -> int:
    """Read one file and write the other."""
    source, target = map(Path, arguments or sys.argv[1:])
    onnx.save(halved(onnx.load(source)), target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
