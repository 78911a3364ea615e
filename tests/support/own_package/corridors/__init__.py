"""A package of a stranger: an environment, and what plays, wraps and judges it."""

import gymnasium

gymnasium.register("corridors/Corridor-v0", "corridors.worlds:Corridor", max_episode_steps=30)
