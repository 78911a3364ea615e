"""Checks at Prolific before people are admitted: whether it knows them, and whether its study fits ours."""

from __future__ import annotations

from .admission import Recruiting
from .money import shown
from .panels import AdmissionRefusal, Arrival, ProlificPanel, Proof
from .prolific import UNDERWAY, ProlificClient, ProlificError


def proof_by_submission(client: ProlificClient, prolific: ProlificPanel) -> Proof:
    """Make a proof that queries Prolific about each arrival, for studies without a secure external URL."""

    def check(arrival: Arrival) -> None:
        try:
            submission = client.submission(arrival.ids["session"])
        except ProlificError as error:
            raise AdmissionRefusal("not-proven" if error.is_final else "not-now", prolific.title) from None
        expected = (arrival.ids["participant"], arrival.ids["study"])
        if (submission.participant, submission.study) != expected or submission.status not in UNDERWAY:
            raise AdmissionRefusal("not-proven", prolific.title)

    return check


def problems_at_prolific(
    client: ProlificClient, recruiting: Recruiting, base: tuple[int, str] | None = None
) -> list[str]:
    """List the differences between the study at Prolific and the study file.

    `base` is the base pay in the file: minor units and currency.
    """
    prolific = recruiting.prolific
    if prolific is None:
        return []
    study = client.study(prolific.study)
    codes = {entry.get("code"): entry for entry in study.get("completion_codes") or []}
    problems = [
        f"expected the code for {outcome} among those of Prolific's study, got none such; add it there"
        for outcome, code in recruiting.codes.items()
        if code not in codes
    ]
    kind = codes.get(recruiting.codes["declined"], {}).get("code_type", "NO_CONSENT")
    if kind != "NO_CONSENT":
        problems.append(f"expected the code for declined to be of type NO_CONSENT, got {kind}")
    actors = {codes[code].get("actor", "participant") for code in recruiting.codes.values() if code in codes}
    expected_actor = "researcher" if prolific.complete == "server" else "participant"
    if actors - {expected_actor}:
        problems.append(
            f"expected codes whose actor is the {expected_actor}, as complete: {prolific.complete} needs"
        )
    if prolific.proof == "token" and not study.get("is_external_study_url_secure"):
        problems.append(
            "expected a secure external URL, as proof: token needs, got a plain one; switch it on"
        )
    address = str(study.get("external_study_url") or "")
    missing = [name for name in prolific.parameters if f"{name}=" not in address]
    if missing:
        problems.append(f"expected {', '.join(missing)} among the parameters of the external study URL")
    reward = study.get("reward")
    if base is not None and isinstance(reward, int | float) and reward != base[0]:
        got = shown(int(reward), base[1])
        problems.append(f"expected a reward of {shown(*base)} at Prolific, as pay.base says, got {got}")
    return problems
