"""A corridor: walk left or right to the door."""

import gymnasium
import numpy as np


class Corridor(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-100, 100, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.door = 0, int(self.np_random.choice([-4, -3, 3, 4]))
        return self._observation(), {"distance": abs(self.door)}

    def step(self, action):
        self.place += 1 if action else -1
        distance = abs(self.door - self.place)
        return self._observation(), float(distance == 0), distance == 0, False, {"distance": distance}

    def _observation(self):
        return np.array([self.place, self.door], np.float32)
