"""The policy: one transformer that is the whole agent.

instruction words + what is seen → tokens → step encoder → one summary a step → memory → action decoder
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.arrays.sampler import WindowBatch
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from ..training.config import MOST_LAYERS, MOST_WINDOW
from .action_sampling import SamplingSettings
from .decoder import Decoder
from .encoding import Encoding, decode_actions, encode_actions
from .fused_ops import normalize_rms
from .interface_checks import expect_fits
from .tokens import EmbeddedBatch, ObservationEmbedding
from .transformer import TransformerBlock, pack
from .web.page_actions import RepeatGuard


@dataclass(frozen=True)
class PolicyConfig:
    """`size` is the one dial: the layers of the step encoder. The rest follows from it."""

    size: int = 2
    window: int = 32
    dropout: float = 0.0
    forget: float = 0.5

    def __post_init__(self) -> None:
        """Raise TutelageError for values that no policy has."""
        for name, most in (("size", MOST_LAYERS), ("window", MOST_WINDOW)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise TutelageError(f"expected {name} to be from 1 to {most}, got {value!r}")
        for name in ("dropout", "forget"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise TutelageError(f"expected {name} in [0, 1], got {value!r}")

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
    """What a policy remembers of running episodes of one task: rings of keys and values, and the time.

    `tried` says of each episode what was done on which page: see `page_actions.RepeatGuard`.
    """

    task: str
    rings: list[tuple[Tensor, Tensor]]
    tried: list[RepeatGuard]
    time: int = 0


class Policy(nn.Module):
    """One set of weights for every task of a run, whatever it sees and does.

    The last action is no input: a policy that sees it learns to repeat it. Memory sees past
    observations, at most `window` steps of them; but where a state says everything, the past tells little
    more than what was done last. So while training, a share `forget` of the windows have no past, and
    `forgetful` names the tasks that are better played without (see `behavior_cloning`).
    """

    def __init__(self, config: PolicyConfig, encoding: Encoding) -> None:
        super().__init__()
        self.config, self.encoding = config, encoding
        width, heads, dropout = config.width, config.heads, config.dropout
        self.tokens = ObservationEmbedding(encoding, width)
        self.encoder = nn.ModuleList(
            TransformerBlock(width, heads, dropout if last else 0.0)
            for last in [False] * (config.size - 1) + [True]
        )
        self.memory = nn.ModuleList(
            TransformerBlock(width, heads, dropout) for _ in range(config.memory_layers)
        )
        self.decoder = Decoder(encoding.interfaces, width)
        self.forgetful: frozenset[str] = frozenset()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ids of the tasks it was taught."""
        return tuple(self.encoding.tasks)

    def expect_environment(self, world: TaskEnv) -> None:
        """Raise TutelageError unless an environment sees and does what its task was taught with."""
        expect_fits(self.encoding.interface(world.task.id), world)

    def loss(self, batch: Mapping[str, WindowBatch]) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted mean cross entropy of a step, and each task's own mean."""
        # tasks of one interface stand together: all of them are decided at once
        index = {task: self.encoding.tasks[task][0] for task in batch}
        batch = {task: batch[task] for task in sorted(batch, key=index.__getitem__)}
        summaries, scene, seen = self.look({task: one.observations for task, one in batch.items()})
        lengths = np.concatenate([one.lengths for one in batch.values()])
        if self.training and self.config.forget:
            alone = torch.rand(len(lengths)).numpy() < self.config.forget
            lengths = np.repeat(np.where(alone, 1, lengths), np.where(alone, lengths, 1))
        x = self.remember(summaries, lengths)
        losses: list[Tensor] = []
        weights: list[np.ndarray] = []
        for which, group in groupby(batch, index.__getitem__):
            tasks, interface = list(group), self.encoding.interfaces[which]
            some = [
                encode_actions(interface, batch[task].actions, batch[task].observations) for task in tasks
            ]
            numbers, taught = (np.concatenate(column) for column in zip(*some, strict=True))
            row = sum(map(len, losses))
            own = x[row : row + len(numbers)]
            losses.append(self.decoder.loss(own, interface, which, numbers, scene.pools(tasks, seen)))
            weights.append(taught * np.concatenate([batch[task].weight for task in tasks]))
        weight = torch.from_numpy(np.concatenate(weights)).to(losses[0].dtype)
        weighted = torch.cat(losses) * weight
        sizes = [len(one.actions) for one in batch.values()]
        each = zip(batch, weighted.detach().split(sizes), weight.split(sizes), strict=True)
        metrics = {task: float(loss.sum()) / max(float(mass.sum()), 1e-9) for task, loss, mass in each}
        return weighted.sum() / max(float(weight.sum()), 1e-9), metrics

    def summarise(self, observations: Mapping[str, Mapping[str, np.ndarray]]) -> Tensor:
        """Encode every step by itself: task id → leaves `[S, ...]` gives one summary a step `[sum S, d]`."""
        return self.look(observations)[0]

    def look(
        self, observations: Mapping[str, Mapping[str, np.ndarray]]
    ) -> tuple[Tensor, EmbeddedBatch, Tensor]:
        """Summarise steps; also returns what is seen, and what became of its tokens, to be pointed at.

        The last layer computes only the summary's row; the others' are not needed any more.
        """
        scene = self.tokens(observations)
        first = torch.from_numpy(scene.packing.starts)
        tokens = scene.tokens
        for block in self.encoder[:-1]:
            tokens = block(tokens, scene.packing, scene.positions)
        last = self.encoder[-1]
        assert isinstance(last, TransformerBlock)
        summaries = last.summarise(tokens, scene.packing, first, scene.positions)
        return summaries.index_select(0, scene.back), scene, tokens

    def remember(self, summaries: Tensor, lengths: np.ndarray) -> Tensor:
        """Let each step look back over its own window; `lengths` `[B]` sum to the rows of `summaries`."""
        packing, order = pack(lengths)
        starts = np.cumsum(lengths) - lengths
        gather = np.concatenate([np.arange(starts[i], starts[i] + lengths[i]) for i in order])
        positions = torch.from_numpy(np.concatenate([np.arange(lengths[i]) for i in order]))
        back = np.empty(len(gather), np.int64)
        back[gather] = np.arange(len(gather))
        x = summaries.index_select(0, torch.from_numpy(gather))
        for block in self.memory:
            x = block(x, packing, positions, causal=True)
        return normalize_rms(x.index_select(0, torch.from_numpy(back)))

    def start(self, task: str, count: int) -> KVCache:
        """Return the empty memory of `count` episodes of a task that begin together."""
        self.encoding.interface(task)
        shape = (count, self.config.window, self.config.width)
        dtype = self.tokens.summary.dtype
        rings = [(torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)) for _ in self.memory]
        return KVCache(task, rings, [RepeatGuard() for _ in range(count)])

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
        where `alive` is False are not computed and come back as zeros. What is not `greedy` is drawn, more
        evenly at a `temperature` above 1. `probabilities` takes the first episode's distribution over the
        options of each number of its action. Returns actions float64 `[N, k]` and the memory, one step later.
        Illegal choices are impossible, greedy or sampled; so is doing the same on the same page again.
        """
        count = len(next(iter(observations.values())))
        rows = np.arange(count) if alive is None else np.flatnonzero(alive)
        interface = self.encoding.interface(task)
        actions = np.zeros((count, interface.width))
        if len(rows):
            some = {path: np.asarray(one)[rows] for path, one in observations.items()}
            x, scene, seen = self.look({task: some})
            where = torch.from_numpy(rows)
            time = 0 if task in self.forgetful else memory.time
            for block, ring in zip(self.memory, memory.rings, strict=True):
                assert isinstance(block, TransformerBlock)
                x = block.step(x, ring, where, time)
            mask = None if legal is None else torch.from_numpy(np.asarray(legal, bool)[rows])
            index = self.encoding.tasks[task][0]
            pools = scene.pools([task], seen)
            draw = None if greedy else SamplingSettings(generator, temperature)
            barred = None
            if interface.page:
                barred = [
                    memory.tried[row].on(page) for row, page in zip(rows, some["elements"], strict=True)
                ]
            x = normalize_rms(x)
            numbers = self.decoder.choose(x, interface, index, draw, mask, pools, barred, probabilities)
            for row, choice in zip(rows, numbers, strict=True) if barred else ():
                memory.tried[row].note(choice)
            actions[rows] = decode_actions(interface, numbers, some)
        memory.time += 1
        return actions, memory

    def count_flops(self, batch: Mapping[str, WindowBatch]) -> float:
        """Count the multiply-adds, times two, of one training step's matrix products, forward and backward.

        Covered: the matrices of all blocks and of the decoder's query, for the rows that go through them.
        Not covered: attention scores, token making, norms, the optimiser; so the share of a machine's peak
        that follows from this is a lower bound.
        """
        width = self.config.width
        scene = self.tokens({task: one.observations for task, one in batch.items()})
        tokens, steps = scene.tokens, len(scene.packing.starts)
        block = 12 * width * width
        summary = 2 * width * width * len(tokens) + 10 * width * width * steps
        inside = block * (len(self.encoder) - 1) * len(tokens) + summary
        return 6.0 * (inside + (block * len(self.memory) + width * width) * steps)
