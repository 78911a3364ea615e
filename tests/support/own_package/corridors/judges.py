"""A success function."""


def judge(rewards, terminated, truncated, infos, most=30):
    """Say whether the door was reached in time."""
    return bool(infos["info.distance"][-1] == 0 and len(rewards) <= most)
