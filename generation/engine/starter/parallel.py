"""Gradients from several single-threaded workers.

With two threads inside every operation, a machine that others use too loses most of its time at barriers (measured:
1.2 s a step against 0.7 s on one thread). Whole half batches side by side meet once a step.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

LOAD_OF_OTHERS_MAX = 1.0


class Gang:
    """Runs one loss a worker and leaves the mean gradient in `.grad`."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers)

    def free(self) -> int:
        """How many workers are worth starting: one where others keep the machine busy.

        A worker casts all weights and holds a whole gradient, so two on one core are slower than one.
        """
        waiting = os.getloadavg()[0]
        return 1 if waiting > self.workers + LOAD_OF_OTHERS_MAX else self.workers

    def backward(self, parameters: Sequence[torch.nn.Parameter], losses: Sequence[Callable[[], torch.Tensor]]) -> float:
        """Evaluate the losses side by side; returns their mean. Gradients replace what was in `.grad`."""

        def work(loss: Callable[[], torch.Tensor]) -> tuple[float, tuple[torch.Tensor, ...]]:
            value = loss()
            # Not `.backward()`: threads would add into the same `.grad` at once.
            return value.item(), torch.autograd.grad(value, parameters)

        results = list(self._pool.map(work, losses))
        total = [list(gradients) for _, gradients in results]
        for other in total[1:]:
            torch._foreach_add_(total[0], other)
        torch._foreach_mul_(total[0], 1 / len(results))
        for parameter, gradient in zip(parameters, total[0], strict=True):
            parameter.grad = gradient
        return sum(value for value, _ in results) / len(results)
