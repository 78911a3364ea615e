"""The policy: one transformer from observations to actions.

instruction words + observation → tokens → step encoder → one summary a step → memory → action decoder
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...datasets.arrays.sampler import WindowBatch
from ...envs.task_env import TaskEnv
from ...errors import TutelageError, brief
from ..training.config import AUGMENTATIONS, FEATURES, FEATURES_FORM, MOST_LAYERS, MOST_WINDOW
from .action_chunks import ChunkPlayer, chunk_targets, unscale
from .action_sampling import SamplingSettings
from .decoder import Decoder
from .devices import to_device
from .encoding import Encoding, IOSpec, decode_actions, encode_actions
from .flow_head import FlowHead
from .fused_ops import normalize_rms
from .interface_checks import expect_fits
from .tokens import EmbeddedBatch, ObservationEmbedding
from .transformer import TransformerBlock, pack
from .web.page_actions import RepeatGuard

LEAST_WEIGHT = 1e-9
"""Least sum of weights that a loss is divided by: a batch without any weight has loss 0."""


@dataclass(frozen=True)
class PolicyConfig:
    """Size of a policy: `size` is the number of layers of the step encoder; width, heads and memory follow.

    `window` is the context length in steps; `dropout` and `history_dropout` are rates used while training, as
    is `augmentation` of images. `features` says what reads images, see `pretrained.FEATURES`.
    """

    size: int = 2
    window: int = 32
    dropout: float = 0.0
    history_dropout: float = 0.5
    augmentation: str = "none"
    features: str = "none"

    def __post_init__(self) -> None:
        """Raise TutelageError for values out of range."""
        for name, most in (("size", MOST_LAYERS), ("window", MOST_WINDOW)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise TutelageError(f"expected {name} to be from 1 to {most}, got {value!r}")
        for name in ("dropout", "history_dropout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise TutelageError(f"expected {name} in [0, 1], got {value!r}")
        if self.augmentation not in AUGMENTATIONS:
            choices = ", ".join(AUGMENTATIONS)
            raise TutelageError(
                f"expected augmentation to be one of {choices}, got {brief(self.augmentation)}"
            )
        if not isinstance(self.features, str) or not FEATURES.fullmatch(self.features):
            raise TutelageError(f"expected features to be {FEATURES_FORM}, got {brief(self.features)}")

    @property
    def width(self) -> int:
        return 64 * self.size

    @property
    def heads(self) -> int:
        return max(1, self.width // 64)

    @property
    def memory_layers(self) -> int:
        return max(1, self.size // 2)


@dataclass
class KVCache:
    """Attention memory of running episodes of one task: ring buffers of keys and values, and the time step.

    `rings` has one (keys, values) pair a memory layer, each `[episodes, window, d]`. `tried` records the
    actions of each episode by page: see `page_actions.RepeatGuard`. `chunks` are the actions that a flow head
    generated ahead.
    """

    task: str
    rings: list[tuple[Tensor, Tensor]]
    tried: list[RepeatGuard]
    time: int = 0
    chunks: ChunkPlayer | None = None


class Policy(nn.Module):
    """One set of weights for all tasks of a run, whatever their observations and actions.

    The last action is no input: a policy that has it as input learns to repeat it. Memory attends to past
    observations, at most `window` steps. Where the state is fully observed, the past adds little beyond
    the last action, so a share `history_dropout` of the training windows has no past (history dropout), and
    `memoryless_tasks` lists the tasks that score higher without memory (see `behavior_cloning`).
    """

    def __init__(self, config: PolicyConfig, encoding: Encoding) -> None:
        super().__init__()
        self.config, self.encoding = config, encoding
        width, heads, dropout = config.width, config.heads, config.dropout
        self.tokens = ObservationEmbedding(encoding, width, config.features, config.augmentation)
        self.encoder = nn.ModuleList(
            # dropout in the last layer only: the one whose output rows are the summaries
            TransformerBlock(width, heads, dropout if last else 0.0)
            for last in [False] * (config.size - 1) + [True]
        )
        self.memory = nn.ModuleList(
            TransformerBlock(width, heads, dropout) for _ in range(config.memory_layers)
        )
        self.decoder = Decoder(encoding.interfaces, width)
        self.flow = nn.ModuleDict(
            {
                str(index): FlowHead(width, interface.flow.chunk * len(interface.parts))
                for index, interface in enumerate(encoding.interfaces)
                if interface.flow
            }
        )
        self.memoryless_tasks: frozenset[str] = frozenset()
        self.recomputes = False
        """Whether the backward pass computes the activations of blocks again instead of keeping them."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ids of the tasks it was trained on."""
        return tuple(self.encoding.tasks)

    def expect_environment(self, environment: TaskEnv) -> None:
        """Raise TutelageError unless an environment has the spaces that its task was trained with."""
        expect_fits(self.encoding.interface(environment.task.id), environment)

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return self.tokens.summary.device

    def loss(self, batch: Mapping[str, WindowBatch]) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted mean loss a step (see `step_losses`), and the mean of each task."""
        total, weight, by_task = self.loss_sums(batch)
        return total / max(weight, LEAST_WEIGHT), {
            task: part / max(mass, LEAST_WEIGHT) for task, (part, mass) in by_task.items()
        }

    def loss_sums(
        self, batch: Mapping[str, WindowBatch]
    ) -> tuple[Tensor, float, dict[str, tuple[float, float]]]:
        """Return the weighted sum of the steps' losses, the sum of the weights, and both by task."""
        losses, weight, sizes = self.step_losses(batch)
        weighted = losses * weight.to(self.device, non_blocking=True)
        counts = list(sizes.values())
        sums = torch.stack([part.sum() for part in weighted.detach().split(counts)]).cpu().tolist()
        masses = [float(part.sum()) for part in weight.split(counts)]
        by_task = dict(zip(sizes, zip(sums, masses, strict=True), strict=True))
        return weighted.sum(), float(weight.sum()), by_task

    def step_losses(self, batch: Mapping[str, WindowBatch]) -> tuple[Tensor, Tensor, dict[str, int]]:
        """Return each step's loss and its weight on the processor, `[S]`, and each task's steps.

        The loss is the cross entropy of the action; with a flow head the mean squared velocity error.
        Tasks come in the order of the returned mapping, not in that of the batch.
        """
        # sort by interface: one decoder call for all tasks that share one
        index = {task: self.encoding.tasks[task][0] for task in batch}
        batch = {task: batch[task] for task in sorted(batch, key=index.__getitem__)}
        # `[sum S, d]`, tasks in order
        summaries, embedded, tokens = self.look(
            {task: examples.observations for task, examples in batch.items()}
        )
        lengths = np.concatenate([examples.lengths for examples in batch.values()])
        if self.training and self.config.history_dropout:
            # history dropout: split such a window into windows of one step
            without_past = torch.rand(len(lengths)).numpy() < self.config.history_dropout
            lengths = np.repeat(np.where(without_past, 1, lengths), np.where(without_past, lengths, 1))
        x = self.remember(summaries, lengths)
        losses: list[Tensor] = []
        weights: list[np.ndarray] = []
        for interface_index, group in groupby(batch, index.__getitem__):
            tasks, interface = list(group), self.encoding.interfaces[interface_index]
            if interface.flow:
                row, batches = sum(map(len, losses)), [batch[task] for task in tasks]
                count = sum(len(examples.actions) for examples in batches)
                losses.append(self._flow_loss(x[row : row + count], interface, interface_index, batches))
                weights += [examples.weight for examples in batches]
                continue
            encoded = [
                encode_actions(interface, batch[task].actions, batch[task].observations) for task in tasks
            ]
            # steps whose action the encoding cannot express have weight 0
            numbers, is_encodable = (np.concatenate(column) for column in zip(*encoded, strict=True))
            row = sum(map(len, losses))
            inputs = x[row : row + len(numbers)]
            losses.append(
                self.decoder.loss(inputs, interface, interface_index, numbers, embedded.pools(tasks, tokens))
            )
            weights.append(is_encodable * np.concatenate([batch[task].weight for task in tasks]))
        sizes = {task: len(examples.actions) for task, examples in batch.items()}
        return torch.cat(losses), torch.from_numpy(np.concatenate(weights)).to(losses[0].dtype), sizes

    def _flow_loss(self, x: Tensor, interface: IOSpec, index: int, batches: Sequence[WindowBatch]) -> Tensor:
        """Return the velocity error of each step `[S]`; while evaluating, always of the same noise."""
        actions = np.concatenate([examples.actions for examples in batches])
        lengths = np.concatenate([examples.lengths for examples in batches])
        chunks, teaches = chunk_targets(interface, actions, lengths)
        generator = None if self.training else torch.Generator().manual_seed(0)
        targets = to_device(chunks, x.device).flatten(1).to(x.dtype)
        return self._flow_head(index).loss(x, targets, to_device(teaches, x.device).flatten(1), generator)

    def _flow_head(self, index: int) -> FlowHead:
        head = self.flow[str(index)]
        assert isinstance(head, FlowHead)
        return head

    def summarize(self, observations: Mapping[str, Mapping[str, np.ndarray]]) -> Tensor:
        """Encode every step by itself: task id → leaves `[S, ...]` gives one summary a step, `[sum S, d]`."""
        return self.look(observations)[0]

    def look(
        self, observations: Mapping[str, Mapping[str, np.ndarray]]
    ) -> tuple[Tensor, EmbeddedBatch, Tensor]:
        """Summarize steps; also returns the embedded batch and its encoded tokens, for pointers.

        The last layer computes the summary rows only; the other rows are not needed after it.
        """
        embedded = self.tokens(observations)
        # the summary is the first token of its sequence
        first = to_device(embedded.packing.starts, self.device)
        tokens = embedded.tokens
        for block in self.encoder[:-1]:
            tokens = self._through(block, tokens, embedded.packing, embedded.positions)
        last = self.encoder[-1]
        assert isinstance(last, TransformerBlock)
        summaries = self._through(last.summarize, tokens, embedded.packing, first, embedded.positions)
        return summaries.index_select(0, embedded.back), embedded, tokens

    def remember(self, summaries: Tensor, lengths: np.ndarray) -> Tensor:
        """Attend causally within windows; their `lengths` `[B]` sum to the number of rows of `summaries`."""
        packing, order = pack(lengths)
        starts = np.cumsum(lengths) - lengths
        # rows in packed order: windows sorted by length
        gather = np.concatenate([np.arange(starts[i], starts[i] + lengths[i]) for i in order])
        positions = to_device(np.concatenate([np.arange(lengths[i]) for i in order]), self.device)
        back = np.empty(len(gather), np.int64)
        back[gather] = np.arange(len(gather))
        x = summaries.index_select(0, to_device(gather, self.device))
        for block in self.memory:
            x = self._through(block, x, packing, positions, True)
        return normalize_rms(x.index_select(0, to_device(back, self.device)))

    def _through(self, block: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """Apply a block; with `recomputes`, only its inputs are kept (Chen et al., 2016)."""
        if self.recomputes and self.training:
            out: Tensor = checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=True)
            return out
        return block(*inputs)

    def start(self, task: str, count: int) -> KVCache:
        """Return the empty memory of `count` episodes of a task that start together."""
        flow = self.encoding.interface(task).flow
        shape = (count, self.config.window, self.config.width)
        empty = self.tokens.summary.new_zeros(shape).detach()
        rings = [(empty.clone(), empty.clone()) for _ in self.memory]
        chunks = ChunkPlayer.of(flow, count) if flow else None
        return KVCache(task, rings, [RepeatGuard() for _ in range(count)], chunks=chunks)

    @torch.no_grad()
    def act(
        self,
        task: str,
        observations: Mapping[str, np.ndarray],
        memory: KVCache,
        *,
        greedy: bool = True,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        legal: np.ndarray | None = None,
        alive: np.ndarray | None = None,
        probabilities: list[np.ndarray | None] | None = None,
    ) -> tuple[np.ndarray, KVCache]:
        """Choose one action for each of N episodes.

        `observations` leaf path → `[N, ...]`; `legal` bool `[N, n]` masks a single Discrete space; rows
        where `alive` is False are not computed and come back as zeros. Actions that are not `greedy` are
        sampled at `temperature`. `probabilities` receives the first episode's distribution over the options
        of each number of its action; with a flow head, which has none, it stays as it is. Returns actions
        float64 `[N, k]` and the memory, one step later. Illegal choices are impossible, greedy or sampled; so
        is repeating an action on the same page.
        """
        count = len(next(iter(observations.values())))
        rows = np.arange(count) if alive is None else np.flatnonzero(alive)
        interface = self.encoding.interface(task)
        actions = np.zeros((count, interface.width))
        draw = None if greedy else SamplingSettings(generator, temperature)
        if memory.chunks is not None:
            actions[rows] = self._act_in_chunks(memory, memory.chunks, observations, rows, draw)
        elif len(rows):
            observed = {path: np.asarray(leaf)[rows] for path, leaf in observations.items()}
            x, embedded, tokens = self._advance(memory, observed, rows)
            mask = None if legal is None else torch.from_numpy(np.asarray(legal, bool)[rows])
            index = self.encoding.tasks[task][0]
            pools = embedded.pools([task], tokens)
            barred = None
            if interface.page:
                barred = [
                    memory.tried[row].on(page) for row, page in zip(rows, observed["elements"], strict=True)
                ]
            numbers = self.decoder.choose(x, interface, index, draw, mask, pools, barred, probabilities)
            # only pages have a guard
            for row, choice in zip(rows, numbers, strict=True) if barred else ():
                memory.tried[row].note(choice)
            actions[rows] = decode_actions(interface, numbers, observed)
        memory.time += 1
        return actions, memory

    def _advance(
        self, memory: KVCache, observed: Mapping[str, np.ndarray], rows: np.ndarray
    ) -> tuple[Tensor, EmbeddedBatch, Tensor]:
        """Let the episodes `rows` `[A]` look and remember; return the memory's output `[A, d]` and tokens."""
        x, embedded, tokens = self.look({memory.task: observed})
        indices = to_device(rows, self.device)
        # time 0 overwrites slot 0 and attends to it alone: no past
        time = 0 if memory.task in self.memoryless_tasks else memory.time
        for block, ring in zip(self.memory, memory.rings, strict=True):
            assert isinstance(block, TransformerBlock)
            x = block.step(x, ring, indices, time)
        return normalize_rms(x), embedded, tokens

    def _act_in_chunks(
        self,
        memory: KVCache,
        chunks: ChunkPlayer,
        observations: Mapping[str, np.ndarray],
        rows: np.ndarray,
        draw: SamplingSettings | None,
    ) -> np.ndarray:
        """Return the actions `[A, k]` of the episodes `rows`, after new chunks for those that need one."""
        index = self.encoding.tasks[memory.task][0]
        interface = self.encoding.interfaces[index]
        due = chunks.due(rows, memory.time)
        # without memory, nothing is lost by not looking
        looking = due if memory.task in self.memoryless_tasks else rows
        if len(looking):
            observed = {path: np.asarray(leaf)[looking] for path, leaf in observations.items()}
            x, _, _ = self._advance(memory, observed, looking)
            x = x.index_select(0, to_device(np.flatnonzero(np.isin(looking, due)), self.device))
        if len(due):
            generated = self._flow_head(index).generate(x, draw).double().numpy()
            chunks.add(due, memory.time, generated.reshape(len(due), *chunks.chunks.shape[2:]))
        return unscale(interface, chunks.numbers(rows, memory.time))

    def count_flops(self, batch: Mapping[str, WindowBatch]) -> float:
        """Count the FLOPs (two a multiply-add) of one training step's matrix products, forward and backward.

        Covers: the matrices of all blocks and of the decoder's query, for the rows that pass through them.
        Does not cover: attention scores, token embedding, norms, the optimizer; so utilization computed from
        this count is a lower bound.
        """
        width = self.config.width
        embedded = self.tokens({task: examples.observations for task, examples in batch.items()})
        tokens, steps = embedded.tokens, len(embedded.packing.starts)
        # qkv 3 d², output 1 d², feed-forward 2 x 4 d²
        block = 12 * width * width
        # last layer: keys and values of every token, the other 10 d² of the summaries only
        summary = 2 * width * width * len(tokens) + 10 * width * width * steps
        inside = block * (len(self.encoder) - 1) * len(tokens) + summary
        # 2 FLOPs forward and 4 backward for each weight and row
        return 6.0 * (inside + (block * len(self.memory) + width * width) * steps)
