"""The ways of seeing and remembering that `vigild bench accuracy` compares, by name."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from daemon.config import Config
from daemon.errors import DaemonError
from daemon.wiring.worker import worker_settings
from memory import policies
from streaming import drop
from streaming.engine import EngineSettings

FULL, LAST4, PAPER, DEFAULT, REUSE, BLIND = "full", "last4", "paper", "default", "reuse", "blind"
NAMES: Final = (FULL, LAST4, PAPER, DEFAULT, REUSE, BLIND)
ALL: Final = (
    *(FULL, LAST4, f"{PAPER}@0.25", PAPER, f"{PAPER}@0.7"),
    *(f"{DEFAULT}@0.3", DEFAULT, f"{DEFAULT}@0.7", f"{DEFAULT}@0.9", BLIND),
)
SHORT: Final = (FULL, LAST4, PAPER, DEFAULT, BLIND)
RULED: Final = (FULL, PAPER, DEFAULT)  # whose rules are watched: they cost more than all else
LOOK_BACK: Final = 4  # frames that `last4` sees
CANVAS_BYTES: Final = 1 << 30
ARCHIVE_BYTES: Final = 256 << 20  # of host memory, for policies that archive
PAPER_THRESHOLD: Final = 0.5


class Sight(enum.Enum):
    """What of the video is there when a question comes."""

    STREAM = enum.auto()  # what was read frame by frame, and kept
    LAST = enum.auto()  # the newest LOOK_BACK frames, read for it into an empty memory
    BLIND = enum.auto()  # as STREAM, of grey pictures


@dataclass(frozen=True, slots=True)
class Way:
    """
    One way of seeing and remembering.

    budget_tokens: of a camera's memory; None is enough for everything.
    reuse: what did not change is not encoded again.
    threshold: of the drop rules that have one ("feature", "dtdr"), in place of the daemon's default.
    """

    name: str
    drop: str = "none"
    policy: str = "window"
    budget_tokens: int | None = None
    threshold: float | None = None
    sight: Sight = Sight.STREAM
    reuse: bool = False

    @property
    def ruled(self) -> bool:
        """Whether standing questions are watched, too."""
        return self.name in RULED

    @property
    def family(self) -> str:
        """Its name without the strength: points of one curve share it."""
        return self.name.partition("@")[0]

    def engine(self, *, cameras: int, asks: int, budget_tokens: int) -> EngineSettings:
        """The daemon's own settings of the engine, with this way's."""
        base = worker_settings(Config()).engine
        options: dict[str, Mapping[str, Any]] = dict(base.drop_options)
        if self.threshold is not None:
            options |= {
                kind: {**options.get(kind, {}), "threshold": self.threshold} for kind in with_threshold(self.drop)
            }
        return replace(
            base,
            max_cameras=cameras,
            max_asks=asks,
            max_budget_tokens=budget_tokens,
            spare_slabs=1,
            drop_options=options,
            canvas_bytes=CANVAS_BYTES if self.reuse else 0,
            archive_bytes=ARCHIVE_BYTES if policies.create(self.policy).archives else 0,
        )


MIRROR: Final = Way("mirror")  # full, of scenes seen in a mirror


def ways(names: Sequence[str]) -> list[Way]:
    """
    The ways of these names, `full` first, as what the others are measured by.

    A name is one of NAMES, of paper and default also with a threshold behind it ("paper@0.25"), or
    "drop:policy:budget", the budget in tokens ("pixel+dtdr@0.7:salience:512"). Raises: DaemonError: no such way.
    """
    return [_way(name) for name in dict.fromkeys((FULL, *names))]


def _way(name: str) -> Way:
    if ":" in name:
        return _custom(name)
    family, _, strength = name.partition("@")
    threshold = _threshold(name, strength) if strength else None
    camera = Config().camera
    if family == PAPER:
        return Way(name, drop="feature", threshold=PAPER_THRESHOLD if threshold is None else threshold)
    if family == DEFAULT:
        return Way(name, camera.drop, camera.policy, camera.budget_tokens, threshold)
    if name == REUSE:
        return Way(name, camera.drop, camera.policy, camera.budget_tokens, reuse=True)
    if threshold is None and family in NAMES:
        return Way(name, sight={LAST4: Sight.LAST, BLIND: Sight.BLIND}.get(name, Sight.STREAM))
    raise DaemonError(
        f"--settings: there is no '{name}'; there are {', '.join(NAMES)}, of paper and default with a threshold as in "
        "'paper@0.25', and 'drop:policy:budget'"
    )


def _custom(name: str) -> Way:
    rule, policy, budget = (*name.split(":"), "", "")[:3]
    rule, _, strength = rule.partition("@")
    try:
        drop.stages(rule)
        policies.create(policy)
    except ValueError as error:
        raise DaemonError(f"--setting '{name}': {error}") from None
    if not budget.isdecimal() or name.count(":") != 2:
        raise DaemonError(f"--setting '{name}' is not of the form drop:policy:budget, as in 'dtdr:salience:512'")
    if strength and not with_threshold(rule):
        raise DaemonError(f"--setting '{name}': '{rule}' has no threshold")
    return Way(name, rule, policy, int(budget), _threshold(name, strength) if strength else None)


def _threshold(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise DaemonError(f"'{name}': the threshold is to be a number of 0 to 1, not '{text}'")
    return value


def with_threshold(rules: str) -> list[str]:
    """Those of the drop rules, joined by "+", that have a threshold."""
    return [kind for kind in rules.split("+") if hasattr(drop.create(kind), "threshold")]
