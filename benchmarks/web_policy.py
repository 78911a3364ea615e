"""What a policy reached on the 56 web tasks, beside what was published on the same tasks.

Nothing is played here: hand in folders that `tutelage evaluate RUN -o FOLDER --suite web --episodes 100`
wrote, as `name=FOLDER`. Success is a reward above 0, as the literature counts it; "in full" is a reward of 1.
The mean is over tasks, each weighing the same; its interval covers the draw of seeds. `--table` prints the
table of docs/web.md; `--quick` tells what was published and no more.

Published columns (`peers/miniwob_published.csv`): HTML-T5-XL (Gur et al., ICLR 2024) and AutoWebGLM (Lai et
al., KDD 2024) as in Table 8 of the latter. People, CC-Net (Humphreys et al., ICML 2022; supervised part,
whole) and WebN-T5-3B (Gur et al., 2022) are recalled: their means are the published ones, single cells were
not checked, and Table 8 of AutoWebGLM has WebN-T5's cells in another order, with the same mean of 0.484.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

import pyarrow.compute as pc
from _figures import figure, tell
from tutelage.agents.evaluation.saved_evaluation import read_evaluation
from tutelage.intervals import Interval, mean_rate, wilson

HERE = Path(__file__).parent
PUBLISHED = HERE / "peers" / "miniwob_published.csv"
HARD = 0.5
"""Hard are the tasks in which both WebN-T5 and CC-Net's supervised part stay below this."""

FLOORS = {"cloned": 0.55, "practised": 0.75}

Rates = Mapping[str, tuple[Interval, Interval]]
"""By task: success, and success in full."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evaluations", nargs="*", help="name=FOLDER, such as cloned=measured")
    parser.add_argument("--quick", action="store_true", help="without any evaluation")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    parser.add_argument("--table", action="store_true", help="print the table of every task")
    given = parser.parse_args()
    if not given.evaluations and not given.quick:
        parser.error("expected evaluations as name=FOLDER, got none; tutelage evaluate writes them")
    published = read_published()
    measured = {name: read(Path(at)) for name, at in (one.split("=", 1) for one in given.evaluations)}
    if given.table:
        print(table(published, measured))
    tell("web_policy", figures(published, measured), ("torch", "miniwob"), given.out)


def read_published() -> dict[str, dict[str, float]]:
    """Return the published success rates: task → column → rate."""
    with PUBLISHED.open(encoding="utf-8") as file:
        return {row.pop("task"): {k: float(v) for k, v in row.items()} for row in csv.DictReader(file)}


def read(evaluation: Path) -> Rates:
    """Return what the policy reached in an evaluation."""
    rows = read_evaluation(evaluation).rows
    rows = rows.filter(pc.equal(rows["actor"], "policy"))
    rates = {}
    for task in dict.fromkeys(rows["task"].to_pylist()):
        own = rows.filter(pc.equal(rows["task"], task))
        full = sum(one >= 1 for one in own["return"].to_pylist())
        rates[task] = wilson(sum(own["success"].to_pylist()), len(own)), wilson(full, len(own))
    return rates


def figures(
    published: Mapping[str, Mapping[str, float]], measured: Mapping[str, Rates]
) -> dict[str, dict[str, object]]:
    """Return the means of every evaluation, and of the hard tasks alone."""
    hard = [
        task for task, one in published.items() if one["webn_t5"] < HARD and one["cc_net_supervised"] < HARD
    ]
    found: dict[str, dict[str, object]] = {
        f"published_{name}": figure(sum(one[name] for one in published.values()) / len(published), "of 1")
        for name in next(iter(published.values()))
    }
    for name, rates in measured.items():
        mean = mean_rate([rates[task][0] for task in published])
        beside = sum(one["webn_t5"] for one in published.values()) / len(published)
        found[f"{name}_mean"] = figure(
            mean.estimate,
            f"of 1 [{mean.low:.3f}, {mean.high:.3f}]",
            "WebN-T5-3B",
            mean.estimate / beside,
            FLOORS.get(name, 0) / beside or None,
        )
        full = mean_rate([rates[task][1] for task in published])
        found[f"{name}_in_full"] = figure(full.estimate, f"of 1 [{full.low:.3f}, {full.high:.3f}]")
        some = mean_rate([rates[task][0] for task in hard])
        found[f"{name}_hard_{len(hard)}"] = figure(
            some.estimate,
            f"of 1 [{some.low:.3f}, {some.high:.3f}]",
            "WebN-T5-3B",
            some.estimate / (sum(published[task]["webn_t5"] for task in hard) / len(hard)),
        )
        for task in published:
            found[f"{name}/{task}"] = figure(rates[task][0].estimate, "of 1")
    return found


def table(published: Mapping[str, Mapping[str, float]], measured: Mapping[str, Rates]) -> str:
    """Return a Markdown table: every task, what was reached with its interval, what was published."""
    columns = next(iter(published.values()))
    named = [name.replace("_", " ") for name in columns]
    lines = [
        "| task | " + " | ".join([*measured, *named]) + " |",
        "|---" * (1 + len(measured) + len(named)) + "|",
    ]
    for task, one in published.items():
        own = [_cell(rates[task][0]) for rates in measured.values()]
        lines.append(f"| `{task}` | " + " | ".join([*own, *(f"{one[name]:.2f}" for name in columns)]) + " |")
    means = [mean_rate([rates[task][0] for task in published]) for rates in measured.values()]
    others = [sum(one[name] for one in published.values()) / len(published) for name in columns]
    own = [f"**{one.estimate:.3f}** {one.low:.3f}-{one.high:.3f}" for one in means]
    lines.append("| **mean** | " + " | ".join([*own, *(f"**{one:.3f}**" for one in others)]) + " |")
    return "\n".join(lines)


def _cell(rate: Interval) -> str:
    return f"{rate.estimate:.2f} {rate.low:.2f}-{rate.high:.2f}"


if __name__ == "__main__":
    main()
