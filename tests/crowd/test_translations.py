"""Every text in every language, and nothing said anywhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from tutelage.crowd import translations
from tutelage.crowd.recruiting.panels import REFUSALS
from tutelage.crowd.recruiting.payments import RETURNS
from tutelage.crowd.storage.study_tables import OUTCOMES, STAGES
from tutelage.crowd.translations import best_language, language_names, load_texts
from tutelage.envs.suite import load_suite
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

STATIC = Path(translations.__file__).parent / "static"
TEMPLATES = STATIC.parent / "templates"
PAGES = (
    "main",
    "join",
    "confirmation",
    "view",
    "frame",
    "way",
    "outcome",
    "options",
    "names",
    "picker",
    "controls",
    "question",
    "clock",
    "connection",
    "opening",
    "asks",
    "pace",
    "giveup",
    "pointer",
)


def test_every_language_has_every_text() -> None:
    assert language_names() == {"en": "English", "zh": "中文"}
    english = load_texts("en").page
    for code in language_names():
        other = load_texts(code)
        assert list(other.page) == list(english)
        assert all(str(one).strip() for one in other.page.values())


def test_every_text_that_the_pages_say_is_there() -> None:
    texts = load_texts("en").page
    used: set[str] = set()
    for name in PAGES:
        script = (STATIC / f"{name}.js").read_text("utf-8")
        used |= set(re.findall(r'say\("([^"]+)"', script)) | set(
            re.findall(r'say\([^)"]*\? "([^"]+)"', script)
        )
        used |= set(re.findall(r'say\([^)]*\? "[^"]+" : "([^"]+)"', script))
    for module in STATIC.parent.rglob("*.py"):
        used |= set(re.findall(r'\.say\("([^"]+)"', module.read_text("utf-8")))
    page = (TEMPLATES / "index.html").read_text("utf-8")
    used |= set(re.findall(r'data-(?:text|label)="([^"]+)"', page))
    assert used <= set(texts), used - set(texts)
    used |= {f"door.{reason}{part}" for reason in ("host", "origin", "token") for part in ("", ".title")}
    made_up = {"refused.stranger", "refused.too-often", "saving.waits", "saving.failing"}
    made_up |= {f"way.{stage}" for stage in STAGES if stage not in ("rest", "done")}
    made_up |= {f"done.{outcome}" for outcome in OUTCOMES} | {f"refused.{reason}" for reason in REFUSALS}
    made_up |= {f"done.{outcome}-text" for outcome in OUTCOMES if outcome != "withdrew"}
    made_up |= {f"episode.{reason}" for reason in ("time", "given-up", "broken")}
    made_up |= {
        f"elsewhere.{why}{part}" for why in ("replaced", "occupied") for part in ("", "-why", "-here")
    }
    made_up |= {f"done.withdrew-{what}" for what in ("kept", "removed")}
    made_up |= {"pay.solved", "pay.score"}
    made_up |= {f"return.{outcome}" for outcome in RETURNS}
    assert made_up <= set(texts), made_up - set(texts)
    by_name = ("connection.", "choice.", "key.")  # by the state, the choice or the key
    assert [key for key in texts if key not in used | made_up and not key.startswith(by_name)] == []


def test_the_pages_hold_no_sentence_of_their_own() -> None:
    page = (TEMPLATES / "index.html").read_text("utf-8")
    body = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|<[^>]+>", "", page.split("{% block body %}", 1)[1])
    assert re.sub(r"[\s·]+", "", body) == ""
    for name in PAGES:
        script = re.sub(
            r"^\s*(//|\*|/\*).*$|//.*$", "", (STATIC / f"{name}.js").read_text("utf-8"), flags=re.M
        )
        texts_in_it = [one for one in re.findall(r'"([^"\n]*)"', script) if " " in one.strip()]
        classes = r"[a-z][a-z-]*( [a-z][a-z-]*)*|.*[{}$?/\[\]].*|path=/.*|.*[#.:].*"
        assert not [one for one in texts_in_it if not re.fullmatch(classes, one)], name


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("turn left", "左转"),
        ("go to the red ball", "走到红色球旁边"),
        ("put a box next to the door on your left", "把一个盒子放到在您左边的门旁边"),
        ("open the door, then pick up a blue key", "先打开门，然后拿起一个蓝色钥匙"),
        ("go to a key after you open the red door", "先打开红色门，然后走到一个钥匙旁边"),
        ("open a door and pick up the ball", "打开一个门，并且拿起球"),
        ("stand on your head", "stand on your head"),
    ],
)
def test_what_tasks_say_is_said_in_chinese(english: str, chinese: str) -> None:
    assert load_texts("zh").phrase(english) == chinese
    assert load_texts("en").phrase(english) == english
    assert load_texts("zh").knows(english) == (english != chinese)


def test_every_instruction_of_the_grid_can_be_said_in_chinese() -> None:
    chinese = load_texts("zh")
    for name in ("babyai", "babyai-small", "first-steps"):
        for task in load_suite(name):
            if not task.env.startswith("tutelage/"):
                continue
            environment = TaskEnv(task)
            for seed in range(8):
                environment.reset(seed)
                assert chinese.knows(environment.instruction), environment.instruction
            environment.close()


def test_a_studys_own_words_come_first() -> None:
    own = load_texts("zh", None, {"turn left": "往左"})
    assert own.phrase("turn left") == "往左"
    assert load_texts("zh").phrase("turn left") == "左转"


def test_a_language_may_stand_beside_the_study(tmp_path: Path) -> None:
    folder = tmp_path / "languages"
    folder.mkdir()
    source = Path(translations.__file__).parent / "languages" / "en.yaml"
    document = yaml.safe_load(source.read_text("utf-8"))
    document["language"] = "Deutsch"
    (folder / "de.yaml").write_text(yaml.safe_dump(document), "utf-8")
    assert language_names(tmp_path) == {"de": "Deutsch", "en": "English", "zh": "中文"}
    del document["page"]["rest.title"]
    (folder / "fr.yaml").write_text(yaml.safe_dump(document), "utf-8")
    with pytest.raises(
        TutelageError, match=r"fr.yaml: expected every text of the pages, got none for rest.title"
    ):
        load_texts("fr", tmp_path)
    document["page"] |= {"rest.title": "x", "rest.titel": "y"}
    (folder / "it.yaml").write_text(yaml.safe_dump(document), "utf-8")
    with pytest.raises(TutelageError, match=r"got 'rest.titel'; did you mean 'rest.title'"):
        load_texts("it", tmp_path)
    with pytest.raises(TutelageError, match="expected a language of"):
        load_texts("xx", tmp_path)


def test_the_braces_of_a_translation_are_those_of_the_english(tmp_path: Path) -> None:
    folder = tmp_path / "languages"
    folder.mkdir()
    document = yaml.safe_load(
        Path(translations.__file__).with_name("languages").joinpath("en.yaml").read_text("utf-8")
    )
    document["page"]["play.step"] = "Schritt {schritt}"
    (folder / "de.yaml").write_text(yaml.safe_dump(document), "utf-8")
    with pytest.raises(TutelageError, match=r"braces of the English text at 'play.step'"):
        load_texts("de", tmp_path)


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB", "en"),
        ("de, zh;q=0.2, en;q=0.7", "en"),
        ("de", "en"),
        ("", "en"),
        (";q=,,;q=x", "en"),
        ("ZH-Hant", "zh"),
    ],
)
def test_a_browsers_wish_is_met_as_far_as_can_be(wanted: str, given: str) -> None:
    assert best_language(wanted, ["en", "zh"]) == given
