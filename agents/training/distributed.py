"""Several training processes: data parallelism over `torchrun`, with gloo on processors and NCCL on CUDA.

Every process computes its part of each batch; gradients are added up and divided by the weight of the whole
batch, so all processes apply the update that a single one would have computed. Gradients are added as one
flat tensor rather than by DistributedDataParallel: a weight must keep having no gradient if no process has
one, the divisor is known only after the forward passes, and no task-dependent graph has to be searched.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import count as count_from
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ...console.signals import Stopped, signals
from ...errors import TutelageError
from ...files.finite_json import exact_json

_PATIENCE = timedelta(days=30)
"""Most time that a process waits for another, which may be replaying a store or playing select seeds."""

_SHORTEST_WAIT, _LONGEST_WAIT = 0.0001, 0.02
_SECONDS_TO_TELL = 1.0
"""Time for a process that has failed to claim the line about it before the others report its absence."""

_joins = count_from()
"""Numbers the groups that this process has joined, which find their members by different keys."""


class LostProcess(TutelageError):
    """Another process of the run has ended."""


@dataclass(frozen=True)
class Processes:
    """The processes of one run: this one's `rank` of `count`, and the number on this machine, `local`.

    All methods are collective: every process calls them in the same order. Waiting lets signals in. They
    raise LostProcess when another process has ended.
    """

    rank: int = 0
    count: int = 1
    local: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes, prints and chooses."""
        return self.rank == 0

    def expect_device(self, device: torch.device) -> None:
        """Raise TutelageError for a device that several processes cannot compute on."""
        if self.count == 1 or device.type == "cpu":
            return
        if device.type != "cuda":
            raise TutelageError(
                f"expected device cpu or cuda for {self.count} processes, got {device.type}; add --device cpu"
            )
        if self.local > torch.cuda.device_count():
            raise TutelageError(
                f"expected at most as many processes as this machine has GPUs ({torch.cuda.device_count()}), "
                f"got {self.local}; lower --nproc-per-node, or add --device cpu"
            )

    def wait(self) -> None:
        """Wait for all processes."""
        if self.count > 1:
            _finish(dist.all_reduce(torch.zeros(1), async_op=True))  # NCCL's barrier would block a GPU

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first process finish the work inside before the others begin it."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def tell(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the plain data `facts` of the first process in every process."""
        if self.count == 1:
            return dict(facts)
        message = np.frombuffer(exact_json(dict(facts)).encode(), np.uint8)
        size = torch.tensor([len(message)])
        self.share([size])
        text = (
            torch.from_numpy(message.copy()) if self.is_first else torch.empty(int(size), dtype=torch.uint8)
        )
        self.share([text])
        told: dict[str, Any] = json.loads(text.numpy().tobytes())
        return told

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Copy the tensors of the first process into those of the others."""
        if self.count > 1:
            for tensor in tensors:
                _finish(dist.broadcast(tensor.detach(), 0, async_op=True))

    def add_up(self, weights: Sequence[Tensor], table: Tensor) -> None:
        """Add the gradients of `weights` and a `table` of numbers over all processes, in place.

        A weight has a gradient afterwards if it had one in any process. Needs memory for a second copy of
        the gradients.
        """
        if self.count == 1:
            return
        parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        has_gradient = [float(weight.grad is not None) for weight in weights]
        parts += [table.new_tensor(has_gradient), table]
        flat = torch.cat([part.flatten() for part in parts])
        _finish(dist.all_reduce(flat, async_op=True))
        *gradients, counts, sums = flat.split([part.numel() for part in parts])
        for weight, gradient, count in zip(weights, gradients, counts.tolist(), strict=True):
            weight.grad = gradient.view_as(weight) if count else None
        table.copy_(sums.view_as(table))


ALONE = Processes()
"""A run of one process."""


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that `torchrun` started; a process that it did not start is alone.

    When the work inside fails, one process tells why: of several that raise an error the first; the others
    end silently with status 2. After a signal, only the first process tells.
    """
    count, rank = (
        int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"))
    )
    if count == 1:
        yield ALONE
        return
    has_cuda = torch.cuda.is_available() and dist.is_nccl_available()
    if has_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        store, *_ = next(rendezvous("env://", timeout=_PATIENCE))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if has_cuda else "gloo",
            store=PrefixStore(f"gradients {next(_joins)}", store),
            rank=rank,
            world_size=count,
            timeout=_PATIENCE,
        )
    except (ValueError, RuntimeError) as error:
        raise TutelageError(
            f"expected {count} processes that find each other, got: {error}; start them with torchrun"
        ) from None
    try:
        yield Processes(rank, count, int(os.environ.get("LOCAL_WORLD_SIZE", count)))
    except BaseException as error:
        reason = error
        try:
            # torchrun sends SIGTERM as soon as a process has ended: it must not take this one's line away
            with signals.advice(str(error)) if isinstance(error, LostProcess) else nullcontext():
                may_tell = _may_tell(error, rank, store)
        except Stopped as stopped:
            reason, may_tell = stopped, _may_tell(stopped, rank, store)
        if may_tell:
            raise reason from None
        signals.hush()
        raise SystemExit(signals.status if signals.number else 2) from None
    dist.destroy_process_group()


def _may_tell(error: BaseException, rank: int, store: Store) -> bool:
    """Return whether this process is the one to print why the run ended."""
    key = f"told {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    try:
        if signals.number or isinstance(error, KeyboardInterrupt):
            return rank == 0 and not store.check([key])
        end = time.monotonic() + _SECONDS_TO_TELL * isinstance(error, LostProcess)
        while time.monotonic() < end and not store.check([key]):
            time.sleep(_LONGEST_WAIT)
        return store.add(key, 1) == 1
    except RuntimeError:  # the store has ended with the process that held it
        return rank == 0


def _finish(work: Any) -> None:
    """Wait for a collective operation in Python: no signal is handled while the main thread waits in C."""
    begin = time.monotonic()
    try:
        while not work.is_completed():
            time.sleep(min(max(_SHORTEST_WAIT, (time.monotonic() - begin) / 10), _LONGEST_WAIT))
        work.wait()
    except RuntimeError as error:
        raise LostProcess("expected the other processes of this run, but one has ended") from error
