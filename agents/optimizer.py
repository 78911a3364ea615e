"""Muon for matrices, AdamW for the rest: two optimisers behind one `step`, with a state that can be saved."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
BETAS = (0.9, 0.95)
EPSILON = 1e-10
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Bring all singular values near 1 by a quintic Newton-Schulz iteration.

    After Jordan et al., "Muon: an optimizer for hidden layers" (2024); values end within about [0.7, 1.2].
    """
    a, b, c = _COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Optimizer:
    """Step a policy's weights: the blocks' and the decoder's matrices by Muon, the others by AdamW.

    `state` is a flat dict of tensors by weight name, so that it can lie in a safetensors file.
    """

    def __init__(self, policy: nn.Module, learning_rate: float, table_rate: float, decay: float) -> None:
        named = dict(policy.named_parameters())
        self.learning_rate, self.table_rate, self.decay = learning_rate, table_rate, decay
        self._matrices = {name: one for name, one in named.items() if _is_matrix(name, one)}
        self._tables = {name: one for name, one in named.items() if name not in self._matrices}
        self.state: dict[str, Tensor] = {f"{name}.momentum": torch.zeros_like(w) for name, w in named.items()}
        self.state |= {f"{name}.square": torch.zeros_like(w) for name, w in self._tables.items()}

    @torch.no_grad()
    def step(self, number: int, scale: float) -> None:
        """Apply the gradients of step `number` (from 0); `scale` multiplies both learning rates."""
        self._muon(self.learning_rate * scale)
        self._adamw(self.table_rate * scale, number + 1)

    def _muon(self, rate: float) -> None:
        for name, weight in self._matrices.items():
            if weight.grad is None:
                continue
            momentum = self.state[f"{name}.momentum"]
            momentum.lerp_(weight.grad, 1 - MOMENTUM)
            ahead = weight.grad.lerp(momentum, MOMENTUM)
            for part, update in zip(_square(weight), _square(ahead), strict=True):
                part.mul_(1 - rate * self.decay)
                part.sub_(orthogonalise(update) * max(1.0, part.shape[0] / part.shape[1]) ** 0.5, alpha=rate)

    def _adamw(self, rate: float, count: int) -> None:
        names = [name for name, weight in self._tables.items() if weight.grad is not None]
        weights: list[Tensor] = [self._tables[name] for name in names]
        grads = [one.grad for one in weights if one.grad is not None]
        first = [self.state[f"{name}.momentum"] for name in names]
        second = [self.state[f"{name}.square"] for name in names]
        torch._foreach_lerp_(first, grads, 1 - BETAS[0])
        torch._foreach_mul_(second, BETAS[1])
        torch._foreach_addcmul_(second, grads, grads, 1 - BETAS[1])
        roots = torch._foreach_sqrt(second)
        torch._foreach_div_(roots, (1 - BETAS[1] ** count) ** 0.5)
        torch._foreach_add_(roots, EPSILON)
        torch._foreach_addcdiv_(weights, first, roots, -rate / (1 - BETAS[0] ** count))


def _is_matrix(name: str, weight: Tensor) -> bool:
    """Say whether a weight is a hidden matrix; tables and first layers are no such thing."""
    return weight.ndim == 2 and not name.startswith("tokens.") and "options" not in name


def _square(matrix: Tensor) -> Iterator[Tensor]:
    """Split a stacked query-key-value matrix `[3d, d]` into its three."""
    rows, columns = matrix.shape
    return iter(matrix.split(columns) if rows == 3 * columns else (matrix,))
