"""Low-rank adapters: matrices of a parent change by a product of two narrow matrices only."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Adapters:
    """LoRA (Hu et al., "LoRA: low-rank adaptation of large language models", 2021), trained by AdamW.

    A matrix `[m, n]` changes by `up @ down`, `[m, rank] @ [rank, n]`, of which `up` begins as zeros. Their
    gradients follow from the matrix's own by the chain rule, so a policy has no further modules, and nothing
    is to be merged into its checkpoints. `state` is a flat dict of tensors by name, as in `Optimizer`.
    """

    def __init__(
        self, matrices: Mapping[str, Tensor], rank: int, betas: tuple[float, float], epsilon: float
    ) -> None:
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.state: dict[str, Tensor] = {}
        factors: dict[str, Tensor] = {}
        for name, matrix in matrices.items():
            rows, columns = matrix.shape
            # drawn on the processor: the same on every device
            down = (torch.randn(rank, columns) * columns**-0.5).to(matrix)
            up = matrix.new_zeros(rows, rank)
            self._pairs.append((matrix, up, down))
            factors |= {f"{name}.up": up, f"{name}.down": down}
        self._adam = torch.optim.AdamW(factors.values(), 0.0, betas, epsilon, weight_decay=0.0, fused=True)
        for name, factor in factors.items():
            moments = {
                "step": torch.zeros((), device=factor.device),
                "exp_avg": torch.zeros_like(factor),
                "exp_avg_sq": torch.zeros_like(factor),
            }
            self._adam.state[factor] = moments
            self.state[name] = factor
            self.state |= {
                f"{name}.momentum": moments["exp_avg"],
                f"{name}.square": moments["exp_avg_sq"],
                f"{name}.count": moments["step"],
            }

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Apply the gradients of the matrices."""
        moving = [pair for pair in self._pairs if pair[0].grad is not None]
        for matrix, up, down in moving:
            assert matrix.grad is not None
            up.grad, down.grad = matrix.grad @ down.T, up.T @ matrix.grad
            matrix.addmm_(up, down, alpha=-1)  # the change so far
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        for matrix, up, down in moving:
            matrix.addmm_(up, down)
            up.grad = down.grad = None
