"""Prolific's signed word for who is coming: believed when it is true, of now, meant for us; else refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from tutelage.crowd.recruiting import prolific_token
from tutelage.crowd.recruiting.panels import AdmissionRefusal, Arrival, ProlificPanel
from tutelage.crowd.recruiting.prolific_token import TokenVerifier
from tutelage.tests.support.prolific_server import STUDY, Place, ProlificServer, rsa_key

NOW = 1_700_000_000.0
JWKS = "jwks.json"


def section(server: ProlificServer, **more: Any) -> ProlificPanel:
    return ProlificPanel(study=STUDY, audience="https://play.example.org", api=server.address, **more)


def arrive(server: ProlificServer, place: Place, token: str | None = None, **claims: Any) -> Arrival:
    sent = server.address_of(place, **claims)
    if token is not None:
        sent["prolific_token"] = token
    return section(server).read({name: [value] for name, value in sent.items()}, NOW)


def refused(reason: str) -> Any:
    return pytest.raises(AdmissionRefusal, check=lambda refusal: refusal.reason == reason)


def unsigned(header: dict[str, Any], payload: dict[str, Any], sign: Any = lambda _: b"") -> str:
    """Put a token together by hand, as somebody who has no key would."""
    parts = [json.dumps(one).encode() for one in (header, payload)]
    text = ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts)
    return f"{text}.{base64.urlsafe_b64encode(sign(text.encode())).rstrip(b'=').decode()}"


def test_what_prolific_signed_is_believed_and_its_keys_are_asked_for_once(server: ProlificServer) -> None:
    verifier = TokenVerifier(section(server))
    for number in range(3):
        verifier.check(arrive(server, server.join(number)))
    assert server.told(JWKS) == 1


@pytest.mark.parametrize(
    "audience",
    [
        "https://play.example.org",
        "https://play.example.org:443/join?a=b",
        "play.example.org",
        ["https://play.example.org/"],
    ],
)
def test_the_audience_is_our_address_whatever_its_path(server: ProlificServer, audience: Any) -> None:
    TokenVerifier(section(server)).check(arrive(server, server.join(), audience=audience))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"audience": "https://play.example.org.evil.example"}, "not-proven"),
        ({"audience": "http://play.example.org"}, "not-proven"),
        ({"audience": "https://play.example.org@evil.example/"}, "not-proven"),
        ({"audience": ["https://play.example.org", "https://evil.example"]}, "not-proven"),
        ({"audience": "https://[broken"}, "not-proven"),
        ({"aud": None}, "not-proven"),
        ({"exp": None}, "not-proven"),
        ({"iat": None}, "not-proven"),
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"iat": int(time.time()) + 3600}, "not-proven"),
        ({"nbf": int(time.time()) + 3600}, "not-proven"),
        ({"prolific": None}, "not-proven"),
        ({"prolific": "60ff"}, "not-proven"),
        ({"prolific": {"workspace_id": "6372"}}, "not-proven"),
    ],
)
def test_a_true_signature_is_not_enough(server: ProlificServer, claims: dict[str, Any], reason: str) -> None:
    with refused(reason) as raised:
        TokenVerifier(section(server)).check(arrive(server, server.join(), **claims))
    assert "60ff" not in str(raised.value)


def test_clocks_may_differ_by_half_a_minute(server: ProlificServer) -> None:
    now = int(time.time())
    TokenVerifier(section(server)).check(arrive(server, server.join(), exp=now - 15, iat=now + 15))


@pytest.mark.parametrize("name", ["PROLIFIC_PID", "STUDY_ID", "SESSION_ID"])
def test_an_address_that_was_changed_does_not_agree_with_its_token(server: ProlificServer, name: str) -> None:
    arrival = arrive(server, server.join())
    changed = replace(arrival, named={**arrival.named, name: "60ff000000000000000000ff"})
    verifier = TokenVerifier(section(server))
    verifier.check(arrival)
    with refused("not-proven"):
        verifier.check(changed)


def test_claims_may_have_the_names_that_the_study_gave_its_parameters(server: ProlificServer) -> None:
    names = {"pid": "participant", "study": "study", "sub": "session", "batch": "batch"}
    place = server.join()
    said = {"pid": place.participant, "study": STUDY, "sub": place.id}
    ours = section(server, parameters=names)
    sent = {**said, "batch": "3", "prolific_token": server.token(place, prolific=said)}
    arrival = ours.read({name: [value] for name, value in sent.items()}, NOW)
    TokenVerifier(ours).check(arrival)
    both = {**said, "PROLIFIC_PID": "60ff000000000000000000ff"}
    with refused("not-proven"):  # two names for one thing, and two people
        TokenVerifier(ours).check(replace(arrival, token=server.token(place, prolific=both)))


def test_only_rs256_by_a_key_of_prolifics_is_a_signature(server: ProlificServer) -> None:
    place = server.join()
    verifier = TokenVerifier(section(server))
    verifier.check(arrive(server, place))
    said = jwt.decode(server.token(place), options={"verify_signature": False})
    pem = (
        rsa_key(0)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    own = jwt.encode(said, rsa_key(7), "RS256", {"kid": "key-0"})
    forged = [
        unsigned({"alg": "none", "typ": "JWT", "kid": "key-0"}, said),
        unsigned({"alg": "None", "kid": "key-0"}, said),
        unsigned(  # the public key as a shared secret
            {"alg": "HS256", "kid": "key-0"}, said, lambda text: hmac.new(pem, text, hashlib.sha256).digest()
        ),
        own,
        jwt.encode(said, rsa_key(0), "RS512", {"kid": "key-0"}),
        jwt.encode(said, rsa_key(0), "PS256", {"kid": "key-0"}),
        jwt.encode(said, rsa_key(0), "RS256"),  # no kid
        server.token(place)[:-6] + "AAAAAA",
        server.token(place).rsplit(".", 1)[0] + ".",
        unsigned({"alg": "RS256", "kid": ["key-0"]}, said),
        unsigned({"alg": "RS256", "kid": "key-0", "jku": "https://evil.example"}, said),
    ]
    for token in forged:
        with refused("not-proven"):
            verifier.check(arrive(server, place, token))


@pytest.mark.parametrize(
    "token",
    ["", "a", "a.b.c", "....", "é.ü.ß", "\x00.a.b", base64.urlsafe_b64encode(b"[" * 5000).decode() + ".a.b"],
)
def test_what_is_no_token_at_all_is_refused_and_nobody_is_asked(server: ProlificServer, token: str) -> None:
    with refused("not-proven"):
        TokenVerifier(section(server)).check(arrive(server, server.join(), token))
    assert server.told(JWKS) == 0


def test_a_shared_secret_among_the_keys_is_no_key(server: ProlificServer) -> None:
    place = server.join()
    said = jwt.decode(server.token(place), options={"verify_signature": False})
    secret = b"a secret of thirty-two characters"
    k = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    server.others = [{"kty": "oct", "kid": "shared", "alg": "HS256", "k": k}, {"kid": "empty", "kty": "RSA"}]
    server.others.append(
        {"kty": "RSA", "kid": "sealing", "use": "enc", "alg": "RS256", "n": "AQAB", "e": "AQAB"}
    )
    verifier = TokenVerifier(section(server))
    for kid in ("shared", "sealing", "empty"):
        with refused("not-now"):
            verifier.check(arrive(server, place, jwt.encode(said, rsa_key(0), "RS256", {"kid": kid})))
    with refused("not-proven"):
        verifier.check(arrive(server, place, jwt.encode(said, secret, "HS256", {"kid": "shared"})))
    verifier.check(arrive(server, place))


def test_a_new_key_is_fetched_when_it_is_first_used_but_once_a_minute_at_most(
    server: ProlificServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = TokenVerifier(section(server))
    old = arrive(server, server.join(1))
    verifier.check(old)
    server.rotate()
    new = arrive(server, server.join(2))
    with refused("not-now"):  # the keys were fetched a moment ago
        verifier.check(new)
    monkeypatch.setattr(prolific_token, "_AGAIN", 0.0)
    verifier.check(new)
    monkeypatch.setattr(prolific_token, "_AGAIN", 60.0)
    with refused("not-now"):  # the old key is none of theirs any more
        verifier.check(old)
    asked = server.told(JWKS)
    said = jwt.decode(new.token, options={"verify_signature": False})
    for number in range(20):  # strangers cannot make us ask all the time
        with refused("not-now"):
            verifier.check(replace(new, token=jwt.encode(said, rsa_key(7), "RS256", {"kid": f"x{number}"})))
    assert server.told(JWKS) == asked == 2
    verifier.check(new)


def test_keys_are_fetched_anew_each_day_and_last_another_while_prolific_is_away(
    server: ProlificServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prolific_token, "_AGAIN", 0.0)
    now = 1000.0
    verifier = TokenVerifier(section(server), lifetime=60, clock=lambda: now)
    arrival = arrive(server, server.join())
    verifier.check(arrival)
    now += 61
    server.fail(JWKS, times=1000)
    verifier.check(arrival)
    assert server.told(JWKS) == 2
    now += 60
    with refused("not-now"):
        verifier.check(arrival)
    server.faults.clear()
    verifier.check(arrival)


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 302}, {"status": 200}, {"hang": True}])
def test_without_keys_nobody_is_let_in(server: ProlificServer, fault: dict[str, Any]) -> None:
    server.fail(JWKS, times=5, **fault)
    with refused("not-now"):
        TokenVerifier(section(server), timeout=0.5).check(arrive(server, server.join()))


def test_a_hundred_people_at_once_are_one_request(server: ProlificServer) -> None:
    verifier = TokenVerifier(section(server))
    arrivals = [arrive(server, server.join(number)) for number in range(100)]
    failed: list[Exception] = []

    def check(arrival: Arrival) -> None:
        try:
            verifier.check(arrival)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=check, args=(one,)) for one in arrivals]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []
    assert server.told(JWKS) == 1
