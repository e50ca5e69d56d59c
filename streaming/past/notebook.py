"""
The notes of one camera, and which of them fit a question.

Fit is BM25 over word stems, raised for what is recent. A time named in the question confines the search to it; a
question about the past that shares no word with any note is given the newest ones. Otherwise nothing shared is nothing
found.

Source: BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import tzinfo

from ..types import Note
from .clock import HOUR, NS, Stretch
from .times import asked_about

MOST = 5000  # notes held; as many as the store lists of a camera
K1, B = 1.2, 0.75
RECENT_GAIN, RECENT_HALF_S = 0.5, float(HOUR)  # what a note of now gains over an old one, and when half of that is gone

WORD = re.compile(r"\w+")
PAST = re.compile(
    r"\b(?:was|were|did|had|happen(?:ed|s)?|miss(?:ed)?|earlier|before|previous(?:ly)?|ago|changed|ever|since|been"
    r"|so far|first|last(?:ly)?|history|past)\b",
    re.IGNORECASE,
)
STOP = frozenset(
    """
    a an and any are as at be been before between but by can did do does earlier ever first for from had has have he her
    here his how i in is it its just last let me miss missed my no not now of on one or our past saw see seen she since
    so some tell that the their them then there they this time to today tonight up us was we were what when where which
    while who whom whose why will with yes yesterday you your happen happened happens happening change changed changes
    camera note notes picture scene show shows shown visible look looks
    """.split()  # noqa: SIM905  it is a list of words, and read as one
)


@dataclass(frozen=True, slots=True)
class _Entry:
    note: Note
    words: tuple[str, ...]


class Notebook:
    """At most `most` notes in the order of their seq; the oldest go first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._entries: dict[int, _Entry] = {}  # by seq, ascending
        self._holding: dict[str, dict[int, int]] = {}  # word -> seq of each note that has it -> how often
        self._words = 0  # of all notes

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def newest(self) -> Note | None:
        return self._entries[next(reversed(self._entries))].note if self._entries else None

    def add(self, note: Note) -> None:
        """Take a note in, newer than all before; one that is not, or is known already, changes nothing."""
        if (newest := self.newest) is not None and note.seq <= newest.seq:
            return
        entry = self._entries[note.seq] = _Entry(note, stems(note.text))
        self._words += len(entry.words)
        for word, count in Counter(entry.words).items():
            self._holding.setdefault(word, {})[note.seq] = count
        if len(self._entries) > self._most:
            self._forget(next(iter(self._entries)))

    def forget_before(self, seq: int) -> None:
        """Forget the notes whose events are no longer held."""
        for old in list(itertools.takewhile(lambda known: known < seq, self._entries)):
            self._forget(old)

    def fitting(self, question: str, *, now_ns: int, most: int, zone: tzinfo | None = None) -> list[Note]:
        """
        The notes that fit, the most fitting first; of several that say the same only the newest.

        Empty where nothing fits, and where nothing was noted at the time that the question names.
        """
        windows, rest = asked_about(question, now_ns, zone)
        scores = self._scores(set(stems(rest)) - STOP_STEMS, now_ns)
        ranked = sorted(scores, key=lambda seq: (-scores[seq], -seq))
        chosen = _told_once(each for seq in ranked if _inside((each := self._entries[seq]).note, windows))
        if found := [entry.note for entry in itertools.islice(chosen, most)]:
            return found
        newest_first = _told_once(each for each in reversed(self._entries.values()) if _inside(each.note, windows))
        if windows:
            return [entry.note for entry in _spread(list(newest_first)[::-1], most)]
        return [entry.note for entry in itertools.islice(newest_first, most)] if PAST.search(question) else []

    def _scores(self, words: Set[str], now_ns: int) -> dict[int, float]:
        """How well each note that has one of these words fits them; what is rare among all notes counts most."""
        scores: dict[int, float] = {}
        known, mean = len(self._entries), max(1.0, self._words / max(1, len(self._entries)))
        for word in words:
            holding = self._holding.get(word, {})
            weight = math.log(1 + (known - len(holding) + 0.5) / (len(holding) + 0.5))
            for seq, count in holding.items():
                length = K1 * (1 - B + B * len(self._entries[seq].words) / mean)
                scores[seq] = scores.get(seq, 0.0) + weight * count * (K1 + 1) / (count + length)
        for seq in scores:
            age_s = max(0, now_ns - self._entries[seq].note.t_ns) / NS
            scores[seq] *= 1 + RECENT_GAIN * 0.5 ** (age_s / RECENT_HALF_S)
        return scores

    def _forget(self, seq: int) -> None:
        entry = self._entries.pop(seq)
        self._words -= len(entry.words)
        for word in set(entry.words):
            del self._holding[word][seq]
            if not self._holding[word]:
                del self._holding[word]


def stems(text: str) -> tuple[str, ...]:
    """The words of a text without case and endings, so that "parked cars" meets "A car parks"."""
    return tuple(stem(word) for word in WORD.findall(text.casefold()))


def stem(word: str) -> str:
    """The word without its commonest English endings; crude, and the same for questions and notes."""
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word


STOP_STEMS = frozenset(stem(word) for word in STOP)


def _inside(note: Note, windows: Sequence[Stretch]) -> bool:
    return not windows or any(window.holds(note.t_ns) for window in windows)


def _told_once(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    """The entries in their order, without those whose words were there before."""
    told = set()
    for entry in entries:
        if entry.words not in told:
            told.add(entry.words)
            yield entry


def _spread(entries: Sequence[_Entry], most: int) -> list[_Entry]:
    """At most `most` of the entries, evenly over their order, the first and the last among them."""
    if len(entries) <= most:
        return list(entries)
    if most < 2:
        return list(entries[-1:]) if most else []
    step = (len(entries) - 1) / (most - 1)
    return [entries[round(i * step)] for i in range(most)]
