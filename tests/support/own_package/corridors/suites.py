"""A suite as a document."""

SUITE = {
    "suite": "corridors",
    "imports": ["corridors"],
    "tasks": [
        {
            "id": "door",
            "env": "corridors/Corridor-v0",
            "wrappers": [
                {"corridors.wrappers:Scaled": {"factor": 0.5}},
                "gymnasium.wrappers:FlattenObservation",
            ],
            "success": {"corridors.judges:judge": {"most": 20, "infos": ["info.distance"]}},
            "expert": "corridor-walker",
        },
        {
            "id": "pole",
            "env": "CartPole-v1",
            "max_steps": 40,
            "expert": "cartpole",
        },
    ],
    "evaluation": {"episodes": 4},
}
