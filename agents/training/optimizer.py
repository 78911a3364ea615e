"""Muon for matrices, AdamW for the rest: two optimizers behind one `step`, with a state that can be saved."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from .adapters import Adapters

MOMENTUM = 0.95
BETAS = (0.9, 0.95)
EPSILON = 1e-10
ROUNDS = 5
FEATURE_RATE = 0.03
"""Learning rate of a pre-trained network, as a share of that of tables."""
_OUTER = frozenset({"options", "noisy", "time", "velocity"})
"""Tables of choices, and what a flow head reads and returns."""

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring all singular values of matrices `[k, m, n]` near 1 by a quintic Newton-Schulz iteration.

    After Jordan et al., "Muon: an optimizer for hidden layers" (2024); the values end in about [0.7, 1.2].
    """
    first, second, third = _COEFFICIENTS
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    # each round multiplies x by a polynomial of its Gram matrix: iterate on that small square matrix instead
    gram = x @ x.mT
    product: Tensor | None = None
    for iteration in reversed(range(ROUNDS)):
        polynomial = torch.baddbmm(gram, gram, gram, beta=second, alpha=third)
        polynomial.diagonal(dim1=1, dim2=2).add_(first)
        product = polynomial if product is None else polynomial @ product
        if iteration:
            gram = polynomial @ gram @ polynomial
    assert product is not None
    x = product @ x
    return x.mT if matrices.shape[1] > matrices.shape[2] else x


class Optimizer:
    """Update a policy's weights: matrices of blocks and decoder by Muon, all others by AdamW.

    Matrices named in `adapted` change by adapters of a `rank` instead, at the rate of tables. `state` is a
    flat dict of tensors by weight name, as a safetensors file needs it.
    """

    def __init__(
        self,
        policy: nn.Module,
        learning_rate: float,
        table_rate: float,
        decay: float,
        adapted: Collection[str] = (),
        rank: int = 0,
    ) -> None:
        named = {name: weight for name, weight in policy.named_parameters() if weight.requires_grad}
        self._adapters = (
            Adapters({name: named.pop(name) for name in adapted}, rank, BETAS, EPSILON) if rank else None
        )
        self.learning_rate, self.table_rate, self.decay = learning_rate, table_rate, decay
        self._matrices = {name: weight for name, weight in named.items() if _is_matrix(name, weight)}
        self._tables = {name: weight for name, weight in named.items() if name not in self._matrices}
        self.state: dict[str, Tensor] = {f"{name}.momentum": torch.zeros_like(w) for name, w in named.items()}
        tables: list[list[Tensor]] = [[], []]
        for name, weight in self._tables.items():
            tables[name.startswith("tokens.features.")].append(weight)
        groups = [
            {"params": weights, "share": share}
            for weights, share in zip(tables, (1, FEATURE_RATE), strict=True)
        ]
        self._adam = torch.optim.AdamW(groups, table_rate, BETAS, EPSILON, weight_decay=0.0, fused=True)
        for name, weight in self._tables.items():
            moments = {"step": torch.zeros((), device=weight.device), "exp_avg_sq": torch.zeros_like(weight)}
            self._adam.state[weight] = moments | {"exp_avg": self.state[f"{name}.momentum"]}
            self.state |= {f"{name}.square": moments["exp_avg_sq"], f"{name}.count": moments["step"]}
        if self._adapters is not None:
            self.state |= self._adapters.state

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Apply the gradients; `scale` multiplies both learning rates."""
        self._muon(self.learning_rate * scale)
        self._adamw(self.table_rate * scale)
        if self._adapters is not None:
            self._adapters.step(self.table_rate * scale)

    def count_flops(self) -> float:
        """Count the FLOPs (two a multiply-add) of the matrix products in one step of Muon."""
        shapes = [sorted(part.shape) for matrix in self._matrices.values() for part in _square_parts(matrix)]
        return sum(2.0 * (2 * m * m * n + (4 * ROUNDS - 3) * m**3) for m, n in shapes)

    def _muon(self, rate: float) -> None:
        weights = {name: weight for name, weight in self._matrices.items() if weight.grad is not None}
        if not weights:
            return
        grads = [weight.grad for weight in weights.values() if weight.grad is not None]
        momenta = [self.state[f"{name}.momentum"] for name in weights]
        torch._foreach_lerp_(momenta, grads, 1 - MOMENTUM)
        # Nesterov momentum
        lookahead = torch._foreach_lerp(grads, momenta, MOMENTUM)
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for weight, update in zip(weights.values(), lookahead, strict=True):
            for part, change in zip(_square_parts(weight), _square_parts(update), strict=True):
                by_shape.setdefault(part.shape, []).append((part, change))
        for shape, pairs in by_shape.items():
            updates = orthogonalize(torch.stack([change for _, change in pairs]))
            parts = [part for part, _ in pairs]
            torch._foreach_mul_(parts, 1 - rate * self.decay)
            # tall matrices get larger steps, so that the change of outputs does not depend on the shape
            torch._foreach_add_(parts, list(updates), alpha=-rate * max(1.0, shape[0] / shape[1]) ** 0.5)

    def _adamw(self, rate: float) -> None:
        for group in self._adam.param_groups:
            group["lr"] = rate * group["share"]
        self._adam.step()


def _is_matrix(name: str, weight: Tensor) -> bool:
    """Return whether a weight is a hidden matrix; tables, input and output layers are not."""
    return weight.ndim == 2 and not name.startswith("tokens.") and _OUTER.isdisjoint(name.split("."))


def _square_parts(matrix: Tensor) -> Sequence[Tensor]:
    """Split a stacked query-key-value matrix `[3d, d]` into three; others stay whole."""
    rows, columns = matrix.shape
    return matrix.split(columns) if rows == 3 * columns else (matrix,)
