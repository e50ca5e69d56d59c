"""
Times in words: those that a question asks about, and those that an answer names.

English, and nothing further back than yesterday by name: "at 14:05", "between 2 and 3 pm", "ten minutes ago", "in the
last hour", "since noon", "yesterday evening".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time, timedelta, tzinfo

from .clock import DAY, HOUR, MINUTE, NS, Stretch, local, midnight, moment

DAYS_BACK = 31  # how many days a clock time may lie back

NUMBERS = {
    "half a": 0.5, "half an": 0.5, "a": 1, "an": 1, "one": 1, "a couple of": 2, "two": 2, "a few": 3, "three": 3,
    "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    "fifteen": 15, "twenty": 20, "thirty": 30,
}  # fmt: skip
UNITS = {
    "s": 1, "sec": 1, "second": 1,
    "m": MINUTE, "min": MINUTE, "minute": MINUTE,
    "h": HOUR, "hr": HOUR, "hour": HOUR,
    "day": DAY,
}  # fmt: skip
PARTS = {"morning": (5, 12), "afternoon": (12, 18), "evening": (17, 24), "night": (20, 30)}  # hours of the day

_NUMBER = rf"\d+(?:\.\d+)?|{'|'.join(sorted(NUMBERS, key=len, reverse=True))}"
_UNIT = r"seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?"
_SPAN = rf"(?P<number>{_NUMBER})\s*(?P<unit>{_UNIT})"
_HALF = r"[ap]m\b|[ap]\.m\.?"
_EXACT = rf"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?(?:\s*(?:{_HALF}))?|(?:1[0-2]|0?[1-9])\s*(?:{_HALF})"
_NAMED = r"noon|midday|midnight"
_CLOCK = rf"{_EXACT}|{_NAMED}"
_BARE = r"(?:[01]?\d|2[0-3])(?!\d|:)"  # an hour whose "pm" follows later, as in "between 2 and 3 pm"

AGO = re.compile(rf"\b{_SPAN}\s+(?:ago|earlier|before now)\b", re.IGNORECASE)
LAST = re.compile(rf"\b(?:last|past|previous)\s+(?:(?P<number>{_NUMBER})\s*)?(?P<unit>{_UNIT})\b", re.IGNORECASE)
RANGE = re.compile(
    rf"\b(?:between|from)\s+(?P<first>{_CLOCK}|{_BARE})\s*(?:and|to|till|until|-|–)\s*(?P<last>{_CLOCK})(?!\w)",
    re.IGNORECASE,
)
SINCE = re.compile(rf"\b(?P<which>since|after|before|until)\s+(?P<at>{_CLOCK})(?!\w)", re.IGNORECASE)
AT = re.compile(rf"(?<![\d:.])(?:\b(?:at|around|about)\s+)?(?P<at>{_EXACT})(?![\w:])", re.IGNORECASE)
AT_NAMED = re.compile(rf"\b(?:at|around|about)\s+(?P<at>{_NAMED})\b", re.IGNORECASE)
PART = re.compile(
    r"\b(?P<day>this|yesterday|last)\s+(?P<part>morning|afternoon|evening|night)\b|\btonight\b", re.IGNORECASE
)
DAYS = re.compile(r"\b(?P<day>today|yesterday)\b", re.IGNORECASE)
NOW = re.compile(r"\bjust now\b|\ba moment ago\b", re.IGNORECASE)
STREAM = re.compile(
    r"<\s*(?P<exact>\d+(?:\.\d+)?)\s*seconds?\s*>|\bat\s+(?P<at>\d+(?:\.\d+)?)\s*(?:seconds?|secs?|s)\b(?!\s+ago)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A time that an answer names: its words, and every stretch of time that these may mean."""

    said: str
    meant: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class _Clock:
    """A clock time as it was written. precise_s: how much of the clock it leaves open."""

    at: time
    precise_s: int


def asked_about(question: str, now_ns: int, zone: tzinfo | None = None) -> tuple[tuple[Stretch, ...], str]:
    """
    The stretches of time that a question names, and the question without these words.

    Clock times are the newest ones that have been; of "at 14:05" some minutes around are meant too. A clock time counts
    alone where a part of the day stands beside it.
    """
    asked = _Asked(question, now_ns, zone)
    coarse = asked.take(PART, asked.part) + asked.take(NOW, asked.just_now)
    coarse = coarse or asked.take(DAYS, asked.whole_day)
    close = asked.take(AGO, asked.ago) + asked.take(LAST, asked.last)
    close += asked.take(RANGE, asked.between) + asked.take(SINCE, asked.since)
    close += asked.take(AT, asked.at) + asked.take(AT_NAMED, asked.at)
    return tuple(each for each in close or coarse if each.t0_ns <= each.t1_ns), asked.rest


class _Asked:
    """A question being read: `rest` is what nobody has taken of it yet."""

    def __init__(self, question: str, now_ns: int, zone: tzinfo | None) -> None:
        self.rest = question
        self._now_ns = now_ns
        self._zone = zone
        self._today = local(now_ns, zone).date()
        self._day = self._today - timedelta(days=1) if "yesterday" in question.lower() else self._today

    def take(self, pattern: re.Pattern[str], read: Callable[[re.Match[str]], Stretch]) -> list[Stretch]:
        """What the pattern's matches mean; they leave the rest."""
        found = [read(match) for match in pattern.finditer(self.rest)]
        self.rest = pattern.sub(" ", self.rest)
        return found

    def ago(self, match: re.Match[str]) -> Stretch:
        age_s = _seconds(match)
        return _around(self._now_ns - round(age_s * NS), max(30.0, age_s / 4))

    def last(self, match: re.Match[str]) -> Stretch:
        return Stretch(self._now_ns - round(_seconds(match) * NS), self._now_ns)

    def just_now(self, _: re.Match[str]) -> Stretch:
        return Stretch(self._now_ns - 2 * MINUTE * NS, self._now_ns)

    def between(self, match: re.Match[str]) -> Stretch:
        t0_ns = self._latest(_clock(match["first"], like=match["last"]))
        day, end = local(t0_ns, self._zone).date(), _clock(match["last"])
        t1_ns = moment(day, end.at, self._zone)
        if t1_ns < t0_ns:  # past midnight
            t1_ns = moment(day + timedelta(days=1), end.at, self._zone)
        return Stretch(t0_ns, min(t1_ns, self._now_ns))

    def since(self, match: re.Match[str]) -> Stretch:
        at_ns = self._latest(_clock(match["at"]))
        day = local(at_ns, self._zone).date()
        if match["which"].lower() in {"before", "until"}:
            return Stretch(midnight(day, self._zone), at_ns)
        return Stretch(at_ns, self._now_ns if self._day == self._today else midnight(day, self._zone, later_h=24))

    def at(self, match: re.Match[str]) -> Stretch:
        clock = _clock(match["at"])
        return _around(self._latest(clock), {1: 30.0, MINUTE: 5.0 * MINUTE}.get(clock.precise_s, HOUR / 2))

    def part(self, match: re.Match[str]) -> Stretch:
        start_h, end_h = PARTS[(match["part"] or "night").lower()]
        today = match["day"] is None or match["day"].lower() == "this"
        return self._of(self._today if today else self._today - timedelta(days=1), start_h, end_h)

    def whole_day(self, _: re.Match[str]) -> Stretch:
        return self._of(self._day, 0, 24)

    def _of(self, day: date, start_h: int, end_h: int) -> Stretch:
        start_ns, end_ns = (midnight(day, self._zone, later_h=hour) for hour in (start_h, end_h))
        return Stretch(start_ns, min(self._now_ns, end_ns))

    def _latest(self, clock: _Clock) -> int:
        """The newest moment that has been at which the clock showed it, on the day that is spoken of."""
        at_ns = moment(self._day, clock.at, self._zone)
        return at_ns if at_ns <= self._now_ns else moment(self._day - timedelta(days=1), clock.at, self._zone)


def mentioned(
    text: str, now_ns: int, *, origin_ns: int | None = None, zone: tzinfo | None = None
) -> tuple[Mention, ...]:
    """
    Every time that an answer names, in the order of their kinds.

    A clock time may be any day's of the last month: the answer does not say which.

    origin_ns: from when the model counts the seconds of its pictures.
    """
    today = local(now_ns, zone).date()
    found: list[Mention] = []
    for match in AGO.finditer(text):
        age_s, unit_s = _seconds(match), _unit(match["unit"])
        slack_s = max(2.0, unit_s / 2, age_s / 10)
        found.append(Mention(match[0], (_around(now_ns - round(age_s * NS), slack_s),)))
    for match in AT.finditer(text):
        clock = _clock(match["at"])
        days = [moment(today - timedelta(days=back), clock.at, zone) for back in range(DAYS_BACK)]
        found.append(
            Mention(match["at"], tuple(Stretch(t_ns, t_ns + clock.precise_s * NS) for t_ns in days if t_ns <= now_ns))
        )
    for match in STREAM.finditer(text):
        at_s = float(match["exact"] or match["at"])
        meant = () if origin_ns is None else (_around(origin_ns + round(at_s * NS), 1.0),)
        found.append(Mention(match[0], meant))
    return tuple(found)


def _around(t_ns: int, slack_s: float) -> Stretch:
    return Stretch(t_ns, t_ns).widened(slack_s)


def _seconds(match: re.Match[str]) -> float:
    word = (match["number"] or "1").lower()
    return min(NUMBERS[word] if word in NUMBERS else float(word), 1e6) * _unit(match["unit"])


def _unit(word: str) -> int:
    word = word.lower()
    return UNITS[word] if word in UNITS else UNITS[word.removesuffix("s")]


def _clock(words: str, *, like: str = "") -> _Clock:
    """A clock time; one without am or pm takes that of `like`."""
    words = words.lower()
    if words in {"noon", "midday", "midnight"}:
        return _Clock(time(0 if words == "midnight" else 12), HOUR)
    half = re.search(r"([ap])\.?m", words) or re.search(r"([ap])\.?m", like.lower())
    hour, minute, second = (int(part) for part in [*re.findall(r"\d+", words), "0", "0"][:3])
    if half and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half[1] == "p" else 0)
    precise_s = (HOUR, MINUTE, 1)[min(2, words.count(":"))]
    return _Clock(time(hour, minute, second), precise_s)
