"""Glossary of the report: what every number covers and does not cover."""

from __future__ import annotations

from .html import section, text

WORDS = {
    "actor": (
        "Anything that plays: a policy, people, a simulated crowd, an expert, random. All play the same "
        "seeds and are counted by the same code."
    ),
    "random": ("Draws every action at random, from the legal ones where the task names them."),
    "expert": (
        "A program that solves the task by looking inside the environment. It is no person and may be "
        "better or worse than one."
    ),
    "simulated crowd": (
        "Demonstrators made from an expert that slips, tires, mistakes the task or plays against it. They "
        "stand for people where no people have played; they are not people."
    ),
    "success": (
        "The share of episodes that meet the task's own rule, such as a reward at the end. An actor that "
        "gives up has failed."
    ),
    "return": (
        "The sum of an episode's rewards. Where success is a threshold on it, the mean return says more "
        "than the share above the threshold."
    ),
    "95 % interval": (
        "What the figure might have been with other seeds. For success, Wilson's; for its mean over "
        "tasks, those of the tasks added up (Zou and Donner); for other means, a bootstrap over episodes, "
        "which has no width where every episode was the same: that is not certainty. None of them covers "
        "another training run, other people or another suite."
    ),
    "seed by seed": (
        "Two actors that played the same seeds differ by chance less than two that did not. The "
        "difference comes with Tango's score interval; p is McNemar's exact test, two-sided. Many "
        "comparisons are made and nothing is corrected for that."
    ),
    "mean score": (
        "Returns, scaled so that random is 0 and the expert 100 on each task, then averaged with equal "
        "weight. Above 100 is better than the expert. Where either is missing, success takes its place."
    ),
    "middle half (IQM)": (
        "The mean score of the middle half of all episodes: neither a few disasters nor a few triumphs "
        "move it."
    ),
    "how soon": (
        "The share solved within n steps. Failures count as never solved, so the curve ends at the "
        "success rate."
    ),
    "repeats": ("The share of steps whose action is the one before. Going straight ahead is repetition too."),
    "stands still": (
        "The share of steps after which the observation was the same as before, bit for bit; from a "
        "sample of up to 24 episodes."
    ),
    "entropy": (
        "How varied the actions are, in bits: 0 is always the same one. Continuous actions are sorted "
        "into 16 equal parts first."
    ),
    "steps beside expert": ("Steps taken over the expert's steps, on the seeds that both solved."),
    "seconds": (
        "For people, from the first picture to the last key. For programs, the time their thinking took."
    ),
    "test, select and record seeds": (
        "Three ranges that never overlap: results come from test seeds, the choice of a checkpoint from "
        "select seeds, demonstrations from record seeds."
    ),
}


def glossary() -> str:
    """Return the HTML section that explains the report's terms, in order of appearance."""
    entries = "".join(
        f"<div><dt>{text(word)}</dt><dd>{text(meaning)}</dd></div>" for word, meaning in WORDS.items()
    )
    lead = "What each number means, what it covers and what it does not."
    return section("words", "The words", lead, f'<dl class="glossary">{entries}</dl>')
