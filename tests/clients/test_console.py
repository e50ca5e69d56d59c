"""The console in a real browser, served by a real gateway over a real store; the test plays the worker."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.auth import hash_token, new_token
from tests.daemon.store.server import Valkey
from tests.peers.stage import Stage, jpeg, now_ms, stage

pytest.importorskip("selenium", reason="selenium is not installed (dev group)")
from tests.peers import chromium
from tests.peers.chromium import ActionChains, Keys, Page

pytestmark = pytest.mark.skipif(chromium.missing() is not None, reason=chromium.missing() or "")


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    data_dir = Path(tempfile.mkdtemp(prefix="vg-"))
    server = Valkey(data_dir).start()
    yield server
    server.stop()
    shutil.rmtree(data_dir)


@pytest.fixture(scope="module")
def daemon(valkey) -> Iterator[Stage]:
    with stage(valkey.url, valkey.data_dir) as here:
        here.open()
        yield here


@pytest.fixture
def page() -> Iterator[Page]:
    """A browser; whatever it has to complain about at the end of a passing test fails it."""
    with chromium.page() as tab:
        yield tab
        assert tab.complaints() == []


def card(camera: str, inside: str = "") -> str:
    return f'[data-camera="{camera}"] {inside}'.strip()


def is_connected(page: Page) -> bool:
    return page.texts("#line") == ["Connected"]


def opened(page: Page, daemon: Stage, **size: int) -> Page:
    page.open(daemon.url, **size)
    page.until(lambda: is_connected(page), "a connection")
    return page


def pixel(page: Page, canvas: str, x: int, y: int) -> list[int]:
    """Red, green, blue and opacity of one pixel of a canvas, 0..255; of a copy, since reading slows a canvas down."""
    script = """
        const copy = new OffscreenCanvas(1, 1).getContext("2d");
        copy.drawImage(document.querySelector(arguments[0]), -arguments[1], -arguments[2]);
        return [...copy.getImageData(0, 0, 1, 1).data];
    """
    return page.run(script, canvas, x, y)


def test_a_camera_is_shown_with_its_state_its_figures_and_its_picture(daemon, page):
    """What is there appears; what another client adds meanwhile does too; pictures and kept cells are drawn."""
    daemon.camera("dock", "rtsp://root:secret@10.0.0.7/stream")
    opened(page, daemon)
    page.shows(card("dock", ".badge"), ["live"])
    assert page.texts(card("dock", ".source")) == ["rtsp://***@10.0.0.7/stream"]
    assert page.texts(card("dock", ".fresh")) == ["no frame yet"]

    daemon.tell("stats", camera="dock", state="live", tokens_in=1000, tokens_kept=83, drop_ratio=0.917, fps_seen=2.0, p95_ms=212.4,
                kv_tokens=2113, last_frame_ts=now_ms())  # fmt: skip
    page.shows(card("dock", ".figures dt"), ["kept", "frames/s", "memory", "delay"])
    page.shows(card("dock", ".figures dd"), ["8.3%", "2.0", "2.1K", "212 ms"])
    assert page.one(card("dock", ".fresh")).text.endswith("s ago")

    daemon.tell("preview", camera="dock", frame_ts=now_ms(), jpeg=jpeg((250, 10, 10)))
    page.until(lambda: page.all(card("dock", ".preview[data-drawn]")), "the picture")
    red, green, blue, _ = pixel(page, card("dock", ".preview"), 80, 45)
    assert red > 240
    assert max(green, blue) < 20

    daemon.tell("heat", camera="dock", frame_ts=now_ms(), hw=[1, 2], kept=b"\x40")  # the right half was kept
    page.click(card("dock", ".heat-toggle"))
    page.until(lambda: pixel(page, card("dock", ".heat"), 20, 45)[3] > 100, "the dropped half to be dimmed")
    assert pixel(page, card("dock", ".heat"), 140, 45)[3] == 0

    daemon.camera("later", state="offline", reason="refused the connection")
    page.shows(card("later", ".badge"), ["offline"])
    assert page.texts(card("later", ".reason")) == ["refused the connection"]


def test_a_note_shows_its_frame_and_an_answer_the_notes_it_rests_on(daemon, page):
    """The feed has the sentence with its picture and why; under an answer stand the notes, and the times to be doubted."""
    daemon.camera("lane")
    opened(page, daemon)
    evidence = daemon.evidence("e_lane", (30, 160, 60))
    daemon.emit("note", "lane", text="A red truck parks.", trigger={"rho": 0.4, "z": 5.2, "because": "change"},
                frame_ts=now_ms() - 300, age_ms=300, dropped_frames=0, evidence=evidence, model="tiny-random")  # fmt: skip
    page.shows('.row[data-kind="note"]:first-child .title', ["A red truck parks."])
    assert page.texts('.row[data-kind="note"]:first-child .detail') == ["lane · the scene changed"]
    page.until(lambda: page.all('.row[data-kind="note"] .evidence[data-had]'), "the picture behind the note")
    page.click('.row[data-kind="note"] .evidence')
    page.until(
        lambda: page.run("return document.querySelector('.lightbox img').naturalWidth") == 160, "the large picture"
    )
    (facts,) = page.texts(".lightbox .facts")
    assert "told 0.3 s after the frame" in facts
    assert "–" not in facts, "a note has no p"
    page.click('.lightbox [aria-label="Close"]')

    page.type(card("lane", ".ask input"), "Where was the truck?\n")
    (asked,) = page.until(lambda: daemon.run(daemon.store.pending_asks("lane")), "the question in the store")
    at = now_ms() - 3_600_000
    note = {"t0": at, "t1": at, "note": "e_lane", "text": "A red truck parks.", "evidence": evidence}
    daemon.emit("answer", "lane", ask=asked["ask"], text="At the gate at 9 pm.", frame_ts=now_ms(), age_ms=180, status="completed",
                citations=[note, {"t0": now_ms() - 60_000, "t1": now_ms()}], doubtful=["9 pm"],
                usage={"memory_tokens": 2113, "output_tokens": 4, "ttft_ms": 41, "total_ms": 160})  # fmt: skip
    page.shows(card("lane", ".cited span"), ["A red truck parks."])
    assert page.one(card("lane", ".cited time")).text != ""
    (facts,) = page.texts(card("lane", ".said .facts"))
    assert "nothing bears out 9 pm" in facts
    assert "remembers since" in facts


def test_an_alert_shows_at_once_and_after_a_reconnection_exactly_once(daemon, page):
    """A page that lost the gateway resumes by its last seq: what happened meanwhile appears, nothing appears twice."""
    daemon.camera("gate")
    daemon.rule("r_gate", "gate", "Is someone at the gate?")
    opened(page, daemon)
    assert page.texts("#alarm") == [""]

    daemon.alert("gate", "r_gate", "a_first")
    page.until(lambda: page.all(card("gate") + "[data-alert]"), "the highlighted card")
    assert page.one(card("gate", ".strip")).text.startswith("Is someone at the gate?")
    page.shows("#alarm", ["Alert on gate: Is someone at the gate? (93%)"])
    page.until(lambda: page.all('.row[data-kind="alert"] .evidence[data-had]'), "the picture behind the alert")
    page.click('.row[data-kind="alert"] .evidence')
    page.until(
        lambda: page.run("return document.querySelector('.lightbox img').naturalWidth") == 160, "the large picture"
    )
    assert "told 0.2 s after the frame" in "".join(page.texts(".lightbox .facts"))
    page.click('.lightbox [aria-label="Close"]')

    daemon.close()
    page.until(lambda: not is_connected(page), "the loss to be told")
    daemon.emit("alert.ended", "gate", rule="r_gate", alert="a_first", duration_s=12.5)
    daemon.alert("gate", "r_gate", "a_second", p=0.81)
    daemon.open()
    page.until(lambda: is_connected(page), "the reconnection")
    page.until(lambda: len(page.all('.row[data-kind="alert"]')) == 2, "both alerts")
    second, first = page.texts('.row[data-kind="alert"] .detail')
    assert first == "gate · 93% · for 13 s"
    assert second.startswith("gate · 81% · for ")
    assert second.endswith(" now")
    seqs = page.run("return [...document.querySelectorAll('.row')].map((row) => Number(row.dataset.seq))")
    assert seqs == sorted(set(seqs), reverse=True)
    refused = (
        page.complaints()
    )  # the browser logs each connection that nobody answers; there is no way to ask it not to
    assert all("WebSocket connection" in line for line in refused)


def test_an_alert_older_than_the_feed_is_still_open(daemon, page):
    """The feed holds 200 rows; an alert that began before them and goes on is shown at its camera all the same."""
    daemon.camera("cellar")
    daemon.rule("r_water", "cellar", "Is there water?")
    daemon.alert("cellar", "r_water", "a_water")
    daemon.alert("cellar", "r_water", "a_over")
    daemon.emit("alert.ended", "cellar", rule="r_water", alert="a_over", duration_s=1.0)
    for number in range(205):
        daemon.emit("note", "cellar", text=f"note {number}")
    opened(page, daemon)
    page.until(lambda: page.all(card("cellar") + "[data-alert]"), "the open alert")
    assert page.one(card("cellar", ".strip")).text.startswith("Is there water?\n")
    assert len(page.all(".row")) == 200
    assert page.texts(".row:first-child .title") == ["note 204"]
    daemon.emit("alert.ended", "cellar", rule="r_water", alert="a_water", duration_s=60.0)
    page.until(lambda: not page.all(card("cellar") + "[data-alert]"), "the end of the alert")


def test_an_answer_is_shown_as_it_is_being_said(daemon, page):
    """Words appear while the worker says them; at the end stands how fresh the answer is."""
    daemon.camera("yard")
    opened(page, daemon)
    page.type(card("yard", ".ask input"), " \n")
    page.until(lambda: page.texts(card("yard", ".ask .error"))[0] != "", "the daemon's objection to a blank question")
    page.type(card("yard", ".ask input"), "What colour is the car?\n")
    (asked,) = page.until(lambda: daemon.run(daemon.store.pending_asks("yard")), "the question in the store")
    assert asked["text"] == "What colour is the car?"
    page.shows(card("yard", ".asked"), ["What colour is the car?"])
    assert page.texts(card("yard", ".ask .error")) == [""]
    for said, so_far in (("It is", "It is"), (" red", "It is red")):
        daemon.tell("delta", camera="yard", ask=asked["ask"], text=said)
        page.shows(card("yard", ".answer"), [so_far])
    daemon.emit("answer", "yard", ask=asked["ask"], text="It is red.", frame_ts=now_ms(), age_ms=180, citations=[], status="completed",
                usage={"memory_tokens": 2113, "output_tokens": 4, "ttft_ms": 41, "total_ms": 160})  # fmt: skip
    page.shows(card("yard", ".answer"), ["It is red."])
    assert "0.2 s before it answered · 2,113 tokens · first word in 41 ms" in "".join(
        page.texts(card("yard", ".said .facts"))
    )
    page.shows('.row[data-kind="answer"] .detail', ["yard · What colour is the car?"])


def test_what_the_daemon_refuses_is_said_at_the_field(daemon, page):
    """The error stands under the field that it names, which is marked invalid and has the focus; then it can be mended."""
    daemon.camera("taken")
    opened(page, daemon)

    def refused(name: str, sentence: str) -> bool:
        note = page.texts(f'dialog .field[data-name="{name}"] .note[data-wrong]')
        marked = page.all(f'dialog [name="{name}"][aria-invalid="true"]:focus')
        return bool(note) and sentence in note[0] and len(marked) == 1

    page.click("#add-camera")
    page.type("dialog [name=id]", "taken")
    page.type("dialog [name=source]", "gopher://x")
    page.click("dialog [type=submit]")
    page.until(lambda: refused("source", "must begin with one of rtsp:"), "the error at the source")
    page.type("dialog [name=source]", "synthetic:yard")
    page.type("dialog [name=fps]", "fast")
    page.click("dialog [type=submit]")
    page.until(lambda: refused("fps", "fps"), "the error at the rate")
    page.type("dialog [name=fps]", "1")
    page.click("dialog [type=submit]")
    page.until(lambda: refused("id", "taken"), "the error at the name")
    page.type("dialog [name=id]", "fresh")
    page.click("dialog [type=submit]")
    page.until(lambda: not page.all("dialog.form"), "the form to close")
    assert daemon.run(daemon.store.camera("fresh")).fps == 1.0

    page.click(card("fresh", ".watch .link"))
    page.type("dialog [name=ask]", "Is the lamp on?")
    page.type("dialog [name=off]", "0.9")
    page.click("dialog [type=submit]")
    page.until(lambda: refused("off", "below"), "the error at the threshold")
    page.type("dialog [name=off]", "0.4")
    page.click("dialog [type=submit]")
    page.shows(card("fresh", ".question"), ["Is the lamp on?"])


def test_a_threshold_is_set_by_keyboard_and_by_hand(daemon, page):
    """A handle is a slider: arrows and dragging move it, and the daemon is told where it was let go."""
    daemon.camera("road")
    daemon.rule("r_road", "road", "Is the road wet?", on=0.8, off=0.5)
    opened(page, daemon)

    def stored() -> tuple[float, float]:
        rule = daemon.run(daemon.store.rule("r_road"))
        return rule.on, rule.off

    on = page.one(card("road", '[role=slider][aria-label="Alert starts at"]'))
    on.send_keys(Keys.ARROW_UP, Keys.ARROW_UP)
    assert on.get_attribute("aria-valuetext") == "82%"
    page.until(lambda: stored() == (0.82, 0.5), "the key presses to reach the store")

    height_px = page.one(card("road", ".plot")).size["height"]
    grip = page.one(card("road", ".threshold.off .grip"))
    ActionChains(page.driver).click_and_hold(grip).move_by_offset(0, round(height_px * 0.2)).release().perform()
    page.until(lambda: stored()[1] < 0.4, "the drag to reach the store")
    on.send_keys(Keys.HOME)
    assert float(on.get_attribute("aria-valuenow")) > stored()[1], "the thresholds never cross"

    for p in (0.2, 0.9):
        daemon.tell("trace", camera="road", rule="r_road", p=p, frame_ts=now_ms())
    page.shows(card("road", ".p"), ["90%"])
    assert page.one(card("road", ".curve")).get_attribute("points").endswith(" 100,10")


def test_what_comes_from_outside_is_only_ever_text(daemon, page):
    """Markup in reasons, questions and notes is shown as it is written, and nothing of it is parsed or run."""
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    daemon.camera("evil", state="offline", reason=evil)
    daemon.rule("r_evil", "evil", evil)
    daemon.emit("note", "evil", text=evil)
    daemon.emit("alert.started", "evil", rule="r_evil", alert="a_evil", p=0.9, frame_ts=now_ms(), age_ms=1, text=evil,
                evidence={"jpg": "javascript:document.title='owned'"}, model="m", dropped_frames=0)  # fmt: skip
    opened(page, daemon)
    page.shows('.row[data-kind="note"]:nth-child(2) .title', [evil])
    assert page.texts(card("evil", ".reason")) == [evil]
    assert page.texts(card("evil", ".question")) == [evil]
    assert page.all("#cameras img, #cameras script, .row script") == []
    assert "owned" not in page.driver.title


def test_a_token_is_asked_for_and_kept_in_this_tab_only(daemon, page):
    """A wrong token is refused at its field, a right one connects and fetches evidence; it is in sessionStorage alone."""
    token = new_token()
    daemon.run(daemon.store.put_token(hash_token(token), "operator", "console test"))
    daemon.camera("vault")
    daemon.rule("r_vault", "vault", "Is the vault open?")
    daemon.close()
    daemon.open(require_token=True)
    try:
        page.open(daemon.url)
        page.type("dialog [name=token]", "vgl_wrong")
        page.click("dialog [type=submit]")
        page.until(lambda: "no such token" in "".join(page.texts("dialog .note[data-wrong]")), "the refusal")
        page.type("dialog [name=token]", token)
        page.click("dialog [type=submit]")
        page.until(lambda: is_connected(page) and not page.all("dialog.form"), "the connection")
        daemon.alert("vault", "r_vault", "a_vault")
        page.until(lambda: page.all(".row:first-child .evidence[data-had]"), "the evidence, fetched with the token")
        assert page.run("return Object.values(sessionStorage)") == [token]
        assert page.run("return [localStorage.length, document.cookie, location.search + location.hash]") == [0, "", ""]
        assert not page.one("#add-camera").is_displayed(), "an operator adds no cameras"
        assert page.one(card("vault", ".watch .link")).is_displayed(), "but keeps rules"
        page.driver.refresh()
        page.until(lambda: is_connected(page), "the connection after a reload")
    finally:
        daemon.close()
        daemon.open(require_token=False)


def columns(page: Page) -> int:
    """How many cards stand side by side."""
    return page.run(
        "return new Set([...document.querySelectorAll('.card')].map((card) => card.getBoundingClientRect().left)).size"
    )


def test_nothing_moves_by_itself(daemon, page):
    """While pictures, figures and curves stream in the layout stands still, and the page never scrolls sideways."""
    for camera in ("still", "beside", "besides"):
        daemon.camera(camera)
    daemon.rule("r_still", "still", "Is anything moving?")
    for width_px in (1440, 390):
        opened(page, daemon, width_px=width_px)
        page.one(card("still", ".question"))
        page.run("""
            window.moved = 0;
            window.add = (entries) => entries.forEach((entry) => (window.moved += entry.value));
            window.watcher = new PerformanceObserver((list) => window.add(list.getEntries()));
            window.watcher.observe({type: "layout-shift"});
        """)
        for number in range(12):
            ts = now_ms()
            daemon.tell("preview", camera="still", frame_ts=ts, jpeg=jpeg((20 * number, 80, 90), (160, 120)))
            daemon.tell("stats", camera="still", state="live", tokens_in=100 * 10**number, tokens_kept=10**number,
                        drop_ratio=0.99, fps_seen=number / 3, kv_tokens=7**number, p95_ms=3.0**number, last_frame_ts=ts)  # fmt: skip
            daemon.tell("trace", camera="still", rule="r_still", p=number / 12, frame_ts=ts)
        page.shows(card("still", ".p"), ["92%"])
        assert page.run("window.add(window.watcher.takeRecords()); return window.moved") < 0.001
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    page.resize(1440)
    page.until(lambda: columns(page) == 3, "three columns on a wide screen")
    page.resize(390)
    page.until(lambda: columns(page) == 1, "one column on a phone")


def test_the_past_is_bounded_and_so_is_the_haste(daemon, page):
    """
    The decisions without a screen. However long the page is open: rows, readings, open alerts and what belongs to removed
    cameras stay bounded. It waits longer and longer before it connects again, and where it was refused, for a person.
    """
    page.open(daemon.url)
    sizes = page.run_module("""
        const { initialState, reduce } = await import("/state.js");
        let state = initialState();
        const step = (action) => (state = reduce(state, action));
        const say = (message) => step({ type: "message", message, at: 1000 });
        step({ type: "cameras", cameras: [{ id: "a", last_frame_ts: null }, { id: "b", last_frame_ts: null }] });
        step({ type: "rules", rules: [{ id: "r", camera: "a", ask: "?" }] });
        for (let seq = 1; seq <= 1000; seq++) {
            say({ type: "alert.started", seq, alert: `x${seq}`, rule: "r", camera: "a", ts: seq });
            say({ type: "trace", camera: "a", rule: "r", p: 0.5 });
            say({ type: "preview", camera: "b", jpeg: "", frame_ts: seq });
            say({ type: "preview", camera: "nobody", jpeg: "", frame_ts: seq });
        }
        const before = state.rows;
        say({ type: "note", seq: 17, text: "seen already" });
        const full = [state.rows.length, state.alerts.size, state.traces.get("r").length, state.previews.size];
        const repeated = state.rows !== before;
        step({ type: "cameras", cameras: [] });
        return [full, repeated, [state.rules.size, state.traces.size, state.previews.size, state.freshest.size]];
    """)
    assert sizes == [[200, 500, 240, 1], False, [0, 0, 0, 0]]

    waits, closes, silences = page.run_module("""
        const { afterClose, judgeSilence, retryDelay_ms } = await import("/reconnect.js");
        return [
            [0, 1, 2, 20, 5000].map((attempt) => [retryDelay_ms(attempt, () => 0), retryDelay_ms(attempt, () => 1)]),
            [1006, 1013, 4401, 4403].map(afterClose),
            [1_000, 20_000, 40_000].map(judgeSilence),
        ];
    """)
    assert waits == [[250, 500], [500, 1000], [1000, 2000], [15000, 30000], [15000, 30000]]
    assert closes == ["retry", "retry", "token", "refused"]
    assert silences == ["fine", "ping", "dead"]
