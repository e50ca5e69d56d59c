"""Questions that come and go over cameras that go on: the same play for every way of decoding."""

from __future__ import annotations

from streaming.decode import Decoding
from streaming.engine import Engine, EngineSettings
from streaming.models import VisionLanguageModel
from streaming.types import Ask, CameraSettings, StepPlan
from tests.streaming.scenes import frame, visited

ASKS = 5  # at most at once: no power of two
CAMERAS = ("yard", "door")


def engine_of(model: VisionLanguageModel, *, graphs: bool = False) -> Engine:
    return Engine(model, settings=EngineSettings(max_cameras=2, max_asks=ASKS, max_budget_tokens=1024, graphs=graphs))


def play(engine: Engine) -> list[tuple[str, str, str, int]]:
    """
    Every delta's question, text, status and tokens, over rounds in which 1 to 5 questions start, run, end and are
    cancelled, of other lengths and limits, while frames come in and slabs are used again.
    """
    told = []
    for name in CAMERAS:
        engine.open(CameraSettings(name, drop="none", budget_tokens=1024))
    going: list[str] = []
    for at in range(14):
        frames = tuple(frame(name, at, visited((at + 4 * i) % 15, noise=at)) for i, name in enumerate(CAMERAS))
        start = tuple(
            Ask(f"q{at}.{i}", CAMERAS[i % 2], "What " + "do you see " * (1 + (at + i) % 3) + "?", max_tokens=3 + 4 * i)
            for i in range(min(1 + at % 4, ASKS - len(going)))
        )
        cancel = tuple(going[:1]) if at % 5 == 4 else ()
        result = engine.step(
            StepPlan(frames=frames, start=start, advance=tuple(going), cancel=cancel, decode_tokens=1 + at % 4)
        )
        engine.check()
        told += [(a.ask, a.text, a.status.value, a.output_tokens) for a in result.answers]
        ended = {a.ask for a in result.answers if a.status.value != "running"}
        going = [ask for ask in (*going, *(one.id for one in start)) if ask not in ended]
    return told


def decoded_by(engine: Engine, decoding: Decoding) -> Engine:
    engine._answers.decoding = decoding
    return engine
