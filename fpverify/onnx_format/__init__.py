"""Reads ONNX files without running them. This process parses untrusted files only with this bounded reader.

- `protobuf`: the wire format, field by field, with a bound on their number;
- `header`: what a file says about itself: inputs, outputs, producer, metadata;
- `survey`: what its graphs do that matters to a verdict: files that they read, training mode, random numbers;
- `external`: which files beside a model may be read;
- `wrong_files`: names what a file is that is no ONNX model.
"""

from fpverify.onnx_format.header import ANY_NAME, UNDEFINED, OnnxHeader, Value, read_onnx_header
from fpverify.onnx_format.survey import Survey, survey_model

__all__ = ["ANY_NAME", "UNDEFINED", "OnnxHeader", "Survey", "Value", "read_onnx_header", "survey_model"]
