"""A step that is recorded and replayed trains the same network as one that is called.

CUDA graphs need a GPU. What can be tested without one is everything around them: that a step reads nothing but the
tensors that it was recorded with, that nothing is done twice or left out, and that a step that cannot be recorded is
called.
"""

from collections.abc import Callable

import pytest
import torch
from fpverify_generator.models.architectures import ARCHITECTURES
from fpverify_generator.models.captured import WARM_UP, Step, recorder_for
from fpverify_generator.models.training import Recipe, TrainingTask, train_sequentially
from fpverify_generator.pools import OwnerData


class Kept:
    """Keeps a step and does it when asked, as a graph does: on the tensors that it was recorded with."""

    def __init__(self) -> None:
        self.warmed = self.recorded = self.replayed = 0

    def warm(self, run: Callable[[], None]) -> None:
        self.warmed += 1
        run()

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            run()

        return replay


class Refusing(Kept):
    """Cannot record."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing")


RECIPES = [
    Recipe(steps=9),
    Recipe(steps=9, radius=0.1, augment=1, mixup=0.5),
    Recipe(steps=9, prune=0.5, layers="last"),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=["plain", "adversarial", "pruned"])
@pytest.mark.parametrize("kind", [Kept, Refusing])
def test_a_recorded_step_trains_the_same_network(kind: type[Kept], recipe: Recipe, owner: OwnerData) -> None:
    task = TrainingTask("t", 0, ARCHITECTURES["resnet-8"], owner.query.inputs, owner.query.targets, recipe)
    recorder = kind()
    called, replayed = train_sequentially(task), train_sequentially(task, recorder=recorder)
    for name, value in called.state_dict().items():
        torch.testing.assert_close(replayed.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    expected = (WARM_UP, 1, 9 - WARM_UP) if kind is Kept else (WARM_UP, 0, 0)
    assert (recorder.warmed, recorder.recorded, recorder.replayed) == expected


def test_a_replay_sees_new_values_in_the_tensors_of_the_recording() -> None:
    seen: list[tuple[float, int]] = []
    step = Step(lambda tensor: seen.append((float(tensor), tensor.data_ptr())), Kept())
    for number in range(WARM_UP + 3):
        step(torch.tensor(float(number)))
    assert [value for value, _ in seen] == list(range(WARM_UP + 3))
    assert len({place for _, place in seen[WARM_UP:]}) == 1


def test_on_the_processor_nothing_is_recorded() -> None:
    assert recorder_for("cpu") is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_trains_the_same_network(owner: OwnerData) -> None:
    task = TrainingTask("t", 0, ARCHITECTURES["resnet-8"], owner.query.inputs, owner.query.targets, Recipe(steps=50))
    called, replayed = train_sequentially(task, "cuda", Refusing()), train_sequentially(task, "cuda")
    for name, value in called.state_dict().items():
        torch.testing.assert_close(replayed.state_dict()[name], value, rtol=0.05, atol=0.02)
