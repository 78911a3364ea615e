"""An expert, an actor and a profile."""


class Walker:
    """Looks inside the environment; `pause` is how many steps back it takes first."""

    def __init__(self, env, pause=0):
        self.env, self.pause, self.left = env.unwrapped, pause, pause

    def reset(self):
        self.left = self.pause

    def act(self, observation):
        towards = self.env.door > self.env.place
        if self.left:
            self.left -= 1
            return int(not towards)
        return int(towards)


class Steady:
    """Sees what the wrapper shows, and counts its own steps: each environment has one of its own."""

    def __init__(self, name="steady", patience=30):
        self.name, self.patience, self.steps = name, patience, 0

    def reset(self):
        self.steps = 0

    def plays(self, task):
        return task == "door"

    def act(self, observation):
        self.steps += 1
        place, door = observation
        return None if self.steps > self.patience else int(door > place)


CLUMSY = {"name": "clumsy", "slip": 0.3, "reaction_ms": 500}
