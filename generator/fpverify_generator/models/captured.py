"""A training step recorded once as a CUDA graph and replayed: of a small network, launching it takes the most time.

Elsewhere, and where a step cannot be recorded, it is called.
"""

from collections.abc import Callable
from typing import Protocol

import torch

Run = Callable[..., None]
"""One step: takes tensors, changes weights in place, and returns nothing."""

WARM_UP = 3
"""Steps that are called before one is recorded: libraries choose their algorithms and allocate meanwhile."""


class Recorder(Protocol):
    """What records a step."""

    def warm(self, run: Callable[[], None]) -> None:
        """Call a step as it is to be called before it is recorded."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record a step without doing it; return what does it, always on the same tensors.

        Raises:
            RuntimeError: if it cannot be recorded.
        """


class CudaRecorder:
    """CUDA graphs, as PyTorch's documentation uses them: warmed up on a stream of their own."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def warm(self, run: Callable[[], None]) -> None:
        """Call a step on the other stream."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            run()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Capture a step."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay


class Step:
    """A step that is called with tensors of the same shapes again and again."""

    def __init__(self, run: Run, recorder: Recorder | None) -> None:
        """Prepare.

        Args:
            run: the step.
            recorder: what records it; None to call it each time.
        """
        self._run, self._recorder, self._called = run, recorder, 0
        self._replay: Callable[[], None] | None = None
        self._held: tuple[torch.Tensor, ...] = ()

    def __call__(self, *tensors: torch.Tensor) -> None:
        """Do the step on these tensors."""
        if self._recorder is None:
            self._run(*tensors)
            return
        if self._called < WARM_UP:
            self._recorder.warm(lambda: self._run(*tensors))
            self._called += 1
            return
        if self._replay is None:
            self._held = tuple(tensor.clone() for tensor in tensors)
            try:
                self._replay = self._recorder.record(lambda: self._run(*self._held))
            except RuntimeError:
                self._recorder = None
                self._run(*tensors)
                return
        for held, given in zip(self._held, tensors, strict=True):
            held.copy_(given)
        self._replay()


def recorder_for(device: str) -> Recorder | None:
    """Return what records steps on a device; None where they are called."""
    return CudaRecorder() if device == "cuda" else None
