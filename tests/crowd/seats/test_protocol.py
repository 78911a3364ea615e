from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tutelage.crowd.hosting.frame_codec import (
    HEADER,
    PNG,
    SHAPES,
    TEXT,
    TILES,
    WEBP,
    Encoder,
    Picture,
    pack,
    unpack,
)
from tutelage.crowd.seats import protocol
from tutelage.crowd.seats.protocol import (
    CheckAnswers,
    ChooseLanguage,
    ChooseTask,
    Command,
    Consent,
    KeyDown,
    PageHidden,
    parse,
)
from tutelage.errors import TutelageError

SCRIPT = (Path(protocol.__file__).parent.parent / "static" / "protocol.js").read_text(encoding="utf-8")


def exported(name: str) -> object:
    match = re.search(rf"export const {name} = (.*);", SCRIPT)
    assert match, name
    return json.loads(re.sub(r"(\d+):", r'"\1":', match[1]))


def test_page_and_server_share_their_names() -> None:
    assert exported("SENT") == list(protocol.SENT)
    assert exported("RECEIVED") == list(protocol.RECEIVED)
    assert exported("REPLACED") == protocol.REPLACED
    assert exported("UNKNOWN_SEAT") == protocol.UNKNOWN_SEAT
    assert exported("HEADER_BYTES") == HEADER.size
    assert exported("OCCUPIED") == protocol.OCCUPIED
    assert exported("IMAGES") == {str(PNG): "image/png", str(WEBP): "image/webp"}
    assert (exported("TILES"), exported("SHAPES"), exported("TEXT")) == (TILES, SHAPES, TEXT)


def test_messages_of_a_page_are_read() -> None:
    assert parse('{"type":"down","code":"Space","frame":3}') == KeyDown(type="down", code="Space", frame=3)
    assert parse(b'{"type":"choose","task":"lake"}') == ChooseTask(type="choose", task="lake")
    assert [parse(json.dumps({"type": one})) for one in protocol.COMMANDS] == [
        Command(type=one)  # type: ignore[arg-type]
        for one in protocol.COMMANDS
    ]


def test_what_a_study_asks_is_answered_in_messages() -> None:
    assert parse('{"type":"consent","given":false}') == Consent(type="consent", given=False)
    assert parse('{"type":"language","code":"zh-Hans"}') == ChooseLanguage(type="language", code="zh-Hans")
    assert parse('{"type":"answers","chosen":[0,3]}') == CheckAnswers(type="answers", chosen=(0, 3))
    assert parse('{"type":"hidden","ms":1200}') == PageHidden(type="hidden", ms=1200)
    assert parse('{"type":"down","code":"Space","frame":3,"reaction":310,"lag":9}').lag == 9  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "in JSON"),
        ("{", "in JSON"),
        ("[]", "expected another message"),
        ("{}", "expected another message"),
        ('{"type":"kepe"}', "did you mean 'keep'"),
        ('{"type":"down","code":"Space"}', "at down.frame|at frame"),
        ('{"type":"down","code":"Space","frame":-1}', "greater than or equal to 0"),
        ('{"type":"down","code":"' + "a" * 33 + '","frame":0}', "at most 32"),
        ('{"type":"keep","force":true}', "force"),
        ('{"type":"consent","given":1}', "given"),
        ('{"type":"language","code":"../etc"}', "at language.code|at code"),
        ('{"type":"answers","chosen":[0,-1]}', "chosen"),
        ('{"type":"answers","chosen":[' + ",".join("0" * 51) + "]}", "at most 50"),
        ('{"type":"hidden","ms":86400001}', "less than or equal"),
        ('{"type":"down","code":"Space","frame":0,"lag":-1}', "lag"),
        (" " * 5000, "at most 4096 bytes, got 5000"),
        (b"\xff\xfe", "in JSON"),
    ],
)
def test_a_wrong_message_gets_one_clear_line(text: str | bytes, complaint: str) -> None:
    with pytest.raises(TutelageError, match=complaint) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@given(
    st.one_of(
        st.text(max_size=300),
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(st.sampled_from(["type", "code", "frame", "task"]), inner)
            ),
        ).map(json.dumps),
    )
)
def test_nothing_that_is_sent_breaks_the_reader(text: str | bytes) -> None:
    complaint = ""
    try:
        parse(text)
    except TutelageError as error:
        complaint = str(error)
    assert "\n" not in complaint
    assert len(complaint) < 400


def decoded(picture: Picture) -> np.ndarray:
    image = Image.open(io.BytesIO(picture.data))
    assert image.format == {PNG: "PNG", WEBP: "WEBP"}[picture.kind]
    assert image.size == (picture.width, picture.height)
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("colours", [1, 2, 3, 16, 17, 255, 256, 257, 5000])
def test_frames_lose_nothing_whatever_their_colours(colours: int) -> None:
    rng = np.random.default_rng(colours)
    palette = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    encoder = Encoder()
    for _ in range(3):
        image = palette[rng.integers(0, colours, (61, 83))]
        assert np.array_equal(decoded(encoder.encode(image)), image)


def test_a_flat_grid_costs_few_bytes() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[::32] = image[:, ::32] = 100
    assert len(Encoder().encode(image).data) < 500


@given(
    st.builds(
        Picture, st.integers(1, 4), st.integers(1, 65535), st.integers(1, 65535), st.binary(max_size=50)
    ),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_a_header_is_read_back(picture: Picture, number: int, saved: int) -> None:
    assert unpack(pack(picture, number, saved)) == (picture, number, saved)
