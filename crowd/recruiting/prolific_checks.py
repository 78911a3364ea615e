"""What Prolific is asked before people are let in: does it know them, and does its study fit ours?"""

from __future__ import annotations

from .admission import Recruiting
from .money import shown
from .panels import AdmissionRefusal, Arrival, ProlificPanel, Proof
from .prolific import UNDERWAY, ProlificClient, ProlificError


def proof_by_submission(client: ProlificClient, prolific: ProlificPanel) -> Proof:
    """Make a proof that asks Prolific about each arrival, where a study has no secure external URL."""

    def check(arrival: Arrival) -> None:
        try:
            found = client.submission(arrival.ids["session"])
        except ProlificError as error:
            raise AdmissionRefusal("not-proven" if error.is_final else "not-now", prolific.title) from None
        named = (arrival.ids["participant"], arrival.ids["study"])
        if (found.participant, found.study) != named or found.status not in UNDERWAY:
            raise AdmissionRefusal("not-proven", prolific.title)

    return check


def problems_at_prolific(
    client: ProlificClient, recruiting: Recruiting, base: tuple[int, str] | None = None
) -> list[str]:
    """Say everything in which the study at Prolific does not fit the study file.

    `base` is what the file pays everyone who completes: minor units and currency.
    """
    prolific = recruiting.prolific
    if prolific is None:
        return []
    study = client.study(prolific.study)
    codes = {one.get("code"): one for one in study.get("completion_codes") or []}
    found = [
        f"expected the code for {outcome} among those of Prolific's study, got none such; add it there"
        for outcome, code in recruiting.codes.items()
        if code not in codes
    ]
    kind = codes.get(recruiting.codes["declined"], {}).get("code_type", "NO_CONSENT")
    if kind != "NO_CONSENT":
        found.append(f"expected the code for declined to be of type NO_CONSENT, got {kind}")
    actors = {codes[code].get("actor", "participant") for code in recruiting.codes.values() if code in codes}
    wanted = "researcher" if prolific.complete == "server" else "participant"
    if actors - {wanted}:
        found.append(f"expected codes whose actor is the {wanted}, as complete: {prolific.complete} needs")
    if prolific.proof == "token" and not study.get("is_external_study_url_secure"):
        found.append("expected a secure external URL, as proof: token needs, got a plain one; switch it on")
    address = str(study.get("external_study_url") or "")
    missing = [name for name in prolific.parameters if f"{name}=" not in address]
    if missing:
        found.append(f"expected {', '.join(missing)} among the parameters of the external study URL")
    reward = study.get("reward")
    if base is not None and isinstance(reward, int | float) and reward != base[0]:
        got = shown(int(reward), base[1])
        found.append(f"expected a reward of {shown(*base)} at Prolific, as pay.base says, got {got}")
    return found
