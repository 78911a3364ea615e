"""A wrapper with an argument."""

import gymnasium
import numpy as np


class Scaled(gymnasium.ObservationWrapper):
    def __init__(self, env, factor=1.0):
        super().__init__(env)
        self.factor = np.float32(factor)

    def observation(self, observation):
        return observation * self.factor
