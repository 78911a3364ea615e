"""XLand-MiniGrid's steps a second on one core, run by grid.py in the virtual environment that has it.

Random actions, 1,024 worlds under vmap and scan with autoreset, 7 x 7 views; the median of the rounds,
compiled before. Called with the name of an environment and the number of rounds; prints the rate.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax  # noqa: E402
import xminigrid  # noqa: E402
from xminigrid.wrappers import GymAutoResetWrapper  # noqa: E402

WORLDS, STEPS = 1024, 50


def main(name: str, rounds: int) -> None:
    env, params = xminigrid.make(name)
    params = params.replace(view_size=7)
    env = GymAutoResetWrapper(env)
    reset, step = jax.vmap(env.reset, (None, 0)), jax.vmap(env.step, (None, 0, 0))

    @jax.jit
    def run(timestep, key):
        def one(timestep, key):
            actions = jax.random.randint(key, (WORLDS,), 0, env.num_actions(params))
            timestep = step(params, timestep, actions)
            return timestep, timestep.observation.sum()

        return jax.lax.scan(one, timestep, jax.random.split(key, STEPS))

    timestep = jax.jit(reset)(params, jax.random.split(jax.random.key(0), WORLDS))
    rates = []
    for i in range(rounds + 1):
        began = time.perf_counter()
        timestep, sums = run(timestep, jax.random.key(i))
        sums.block_until_ready()
        rates.append(WORLDS * STEPS / (time.perf_counter() - began))
    print(statistics.median(rates[1:]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
