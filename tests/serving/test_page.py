"""The page as a person uses it: headless Chromium against the server."""

import os
import shutil
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tonggan.feedback.tables import Choice
from tonggan.feedback.votes import Ballot, VoteStore
from tonggan.serving.arena import build_app, listen
from tonggan.serving.contest import Contest

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: run the tests by `make test` or scripts/debian_packages.sh first"),
]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "locale": "zh-CN"}


@pytest.fixture
def votes_url(tmp_path: Path) -> str:
    """One kind of store is enough here."""
    return f"sqlite:///{tmp_path / 'votes.sqlite'}"


@pytest.fixture
def prompts_file(tmp_path: Path) -> Path:
    """Four prompts, which are five rounds: settling takes its time after each."""
    (tmp_path / "prompts.txt").write_text("red square\ngreen circle\n蓝色\nblack frame\n")
    return tmp_path / "prompts.txt"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def wait_until(page: Page, expression: str, *, seconds: float = 30.0) -> None:
    """Ask until it is so: Playwright's own waiting evaluates within the page, whose Content Security Policy forbids it (but for the first time)."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


@contextmanager
def served(contest: Contest, store: VoteStore) -> Iterator[str]:
    waiting = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(build_app(contest, store), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [waiting]})
    thread.start()
    yield f"http://127.0.0.1:{waiting.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture
def address(contest: Contest, store: VoteStore) -> Iterator[str]:
    with served(contest, store) as found:
        yield found


def opened(chromium: Browser, address: str, **kind: object) -> Page:
    """Open the page in a browser of its own; whatever goes wrong or goes out is written into `page.complaints`."""
    page = chromium.new_context(**kind).new_page()  # type: ignore[arg-type]
    page.complaints = []  # type: ignore[attr-defined]
    page.on("console", lambda message: page.complaints.append(message.text))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.complaints.append(str(error)))  # type: ignore[attr-defined]
    page.on("request", lambda request: urlsplit(request.url).hostname == "127.0.0.1" or page.complaints.append(request.url))  # type: ignore[attr-defined]
    page.goto(address)
    ready(page, 0)
    return page


def ready(page: Page, done: int) -> None:
    """Wait until the page takes the vote number `done`, from zero."""
    expect(page.locator("#count")).to_have_text(f"{done} / 5")
    expect(page.locator("[data-choice=left]")).to_be_enabled()


def ballots(store: VoteStore) -> list[Ballot]:
    return store.ballots().get("text->image", [])


def test_votes_by_keys(chromium: Browser, address: str, store: VoteStore) -> None:
    page = opened(chromium, address)
    for done, key in enumerate("120x"):
        page.keyboard.press(key)
        ready(page, done + 1)
    page.keyboard.press("u")
    ready(page, 3)
    page.get_by_label("Comment").fill("a 1 and a 2: ")
    page.get_by_label("Comment").press("x")
    ready(page, 3)
    page.get_by_role("button", name="Right").focus()
    page.keyboard.press("Enter")
    ready(page, 4)
    assert page.get_by_label("Comment").input_value() == ""
    said = ballots(store)
    assert len(said) == 4
    assert {said[0].choice, said[1].choice} <= {Choice.FIRST, Choice.SECOND}
    assert said[2].choice == Choice.TIE
    assert page.complaints == []  # type: ignore[attr-defined]


def test_on_a_phone_in_chinese_to_the_end(chromium: Browser, address: str, store: VoteStore) -> None:
    page = opened(chromium, address, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title() == "哪个更好？"
    page.get_by_role("button", name="English").tap()
    expect(page.get_by_role("button", name="Both bad")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="中文").tap()
    ready(page, 0)
    page.locator("label[for=star-right-4]").tap()
    expect(page.get_by_role("group", name="给它打星").nth(1).get_by_role("radio", name="4 星（共 5 星）")).to_be_checked()
    for done in range(5):
        ready(page, done)
        button = page.get_by_role("button", name="左边好")
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= 844
        button.tap()
    expect(page.get_by_text("全部完成")).to_be_visible()
    assert len(ballots(store)) == 5
    assert [rating.stars for rating in store.ratings()["text->image"]] == [4]
    assert page.complaints == []  # type: ignore[attr-defined]


def test_a_double_click_is_one_vote(chromium: Browser, address: str, store: VoteStore) -> None:
    page = opened(chromium, address)
    box = page.locator("[data-choice=tie]").bounding_box()
    assert box is not None
    for _ in range(2):
        page.mouse.click(box["x"] + 5, box["y"] + 5)
        page.wait_for_timeout(150)
    ready(page, 1)
    page.wait_for_timeout(300)
    assert [ballot.choice for ballot in ballots(store)] == [Choice.TIE]


def test_a_vote_is_not_lost_where_the_network_is(chromium: Browser, address: str, store: VoteStore) -> None:
    page = opened(chromium, address)
    page.get_by_label("Comment").fill("keep me")
    page.context.set_offline(True)
    page.locator("[data-choice=left]").click()
    expect(page.get_by_role("alert")).to_contain_text("Not saved")
    assert page.get_by_label("Comment").input_value() == "keep me"
    page.context.set_offline(False)
    page.locator("[data-choice=left]").click()
    ready(page, 1)
    assert len(ballots(store)) == 1
    expect(page.get_by_role("alert")).to_be_empty()


def test_two_windows_of_one_voter(chromium: Browser, address: str, store: VoteStore) -> None:
    page = opened(chromium, address)
    other = page.context.new_page()
    other.goto(address)
    ready(other, 0)
    page.keyboard.press("0")
    ready(page, 1)
    other.keyboard.press("x")
    expect(other.get_by_role("alert")).to_contain_text("voted on this pair already")
    assert [ballot.choice for ballot in ballots(store)] == [Choice.TIE]


def test_what_shows_an_output_follows_from_its_kind(chromium: Browser, address: str, contest: Contest, tmp_path: Path) -> None:
    contest.prepare()
    for name, tag in (("said.txt", "p"), ("heard.wav", "audio"), ("seen.mp4", "video"), ("drawn.png", "img")):
        file = tmp_path / name
        if tag == "p":
            file.write_text("a <b>red</b> heart 红心")
        elif tag == "audio":
            with wave.open(str(file), "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(2)
                sound.setframerate(16_000)
                sound.writeframes(bytes(64_000))
        elif tag == "video":
            file.write_bytes(b"")
        else:
            shutil.copy(next((contest.folder / "outputs").glob("*.png")), file)
        for output in contest.entries:
            place = contest.folder / "outputs" / f"{output}{file.suffix}"
            shutil.copy(file, place)
            contest.files[output] = place
        page = opened(chromium, address, **PHONE)
        expect(page.get_by_role("button", name="左边好" if tag == "img" else "上面好")).to_be_visible()
        shown = page.locator(f"[data-side=left] .output > {tag}")
        expect(shown).to_be_visible()
        if tag == "p":
            expect(shown).to_have_text("a <b>red</b> heart 红心")
        if tag == "audio":
            wait_until(page, "document.querySelector('audio').duration === 2")
        if tag == "img":
            assert page.evaluate("document.querySelector('.output img').naturalWidth") == 32
        page.context.close()


def test_clips_with_sound_play_one_at_a_time(chromium: Browser, sound_contest: Contest, store: VoteStore) -> None:
    with served(sound_contest, store) as address:
        page = opened(chromium, address, **PHONE)
        expect(page.locator("#prompt video")).to_be_visible()
        wait_until(page, "[...document.querySelectorAll('video')].every((video) => video.readyState >= 3 && video.videoWidth === 64)")
        page.locator("h1").click()  # browsers play nothing to who has not touched the page
        started = "async (side) => { await document.querySelector(`[data-side=${side}] video`).play(); }"
        page.evaluate(started, "left")
        page.evaluate(started, "right")
        playing = page.evaluate("[...document.querySelectorAll('.output video')].map((video) => !video.paused)")
        assert playing == [False, True]
        assert page.evaluate("[...document.querySelectorAll('.output video')].every((video) => video.volume === 1 && !video.muted)")
        if os.environ.get("TONGGAN_SCREENSHOT"):
            page.screenshot(path=os.environ["TONGGAN_SCREENSHOT"])
        assert page.complaints == []  # type: ignore[attr-defined]
        page.context.close()
