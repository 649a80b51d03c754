"""Suspects: anything that answers inputs with labels or scores.

- `blackbox`: asks any callable and reads its answer as labels;
- `onnx_file`: an ONNX file, run by ONNX Runtime, as such a callable.
"""

from fpverify.suspects.blackbox import Answer, Suspect, ask, name_of
from fpverify.suspects.onnx_file import OnnxSuspect, load_onnx

__all__ = ["Answer", "OnnxSuspect", "Suspect", "ask", "load_onnx", "name_of"]
