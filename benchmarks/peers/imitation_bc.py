"""The other side of benchmarks/training.py: `imitation` 1.0.1's BC on given demonstrations.

Run by a Python that has imitation; arguments: data.npz batch parameters threads seconds. Its last line is
JSON: samples/s of its own training loop, and the parameters of its policy (two equal hidden layers, as wide
as brings them nearest to `parameters`).
"""

import json
import sys
import time

import gymnasium
import numpy as np
import torch
from imitation.algorithms import bc
from imitation.data.types import Transitions
from imitation.util import logger
from stable_baselines3.common.policies import ActorCriticPolicy


def main() -> None:
    path, batch, parameters, threads, seconds = sys.argv[1:]
    torch.set_num_threads(int(threads))
    data = np.load(path)
    observations = data["observations"].reshape(len(data["observations"]), -1).astype(np.float32)
    actions = data["actions"].astype(np.int64)
    spaces = (
        gymnasium.spaces.Box(-np.inf, np.inf, observations.shape[1:], np.float32),
        gymnasium.spaces.Discrete(int(actions.max()) + 1),
    )
    sizes = observations.shape[1], int(spaces[1].n)
    width = min(range(8, 4096), key=lambda one: abs(expected(one, *sizes) - int(parameters)))
    # no hidden layers for the value, which BC never trains
    layers = {"pi": [width, width], "vf": []}
    learner = ActorCriticPolicy(*spaces, lr_schedule=lambda _: 1e-3, net_arch=layers)
    assert count(learner) == expected(width, *sizes)
    dones = np.zeros(len(actions), bool)
    dones[data["starts"][1:] - 1] = True
    transitions = Transitions(
        obs=observations,
        acts=actions,
        infos=np.array([{}] * len(actions)),
        next_obs=np.roll(observations, -1, 0),
        dones=dones,
    )
    trainer = bc.BC(
        observation_space=spaces[0],
        action_space=spaces[1],
        rng=np.random.default_rng(0),
        policy=learner,
        demonstrations=transitions,
        batch_size=int(batch),
        custom_logger=logger.configure(None, []),
    )
    trainer.train(n_batches=5, progress_bar=False)
    batches, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < float(seconds):
        trainer.train(n_batches=20, progress_bar=False)
        batches += 20
    print(json.dumps({"samples_per_second": batches * int(batch) / spent, "parameters": count(learner)}))


def expected(width: int, inputs: int, actions: int) -> int:
    """Count the parameters of a perceptron with two hidden layers, and of the value's single row."""
    return (inputs + 1) * width + (width + 1) * width + (width + 1) * actions + inputs + 1


def count(one: ActorCriticPolicy) -> int:
    return sum(each.numel() for each in one.parameters())


if __name__ == "__main__":
    main()
