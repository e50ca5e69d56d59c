"""
The words around the pictures: the prompt, the questions, yes and no, and text that comes out token by token.

Everything is taken from the checkpoint's own tokenizer and chat template; no id is written down here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

SYSTEM = (
    "You watch a live camera. The video is given frame by frame with the time in seconds. "
    "Answer briefly and only from what is seen."
)
CHECK = "Look at the most recent frame. Answer with yes or no. {question}"  # the same words first: rules share them

_MARK = "@QUESTION@"
_YES = ("Yes", "yes", "YES", " Yes", " yes")
_NO = ("No", "no", "NO", " No", " no")


class Dialogue:
    """
    Token ids for every word that vigild says to a model.

    head: ids before the first frame. yes, no: ids whose logits are pooled for a rule. eos: ids that end an answer.
    """

    def __init__(self, tokenizer: Any, *, video: str, wrap: tuple[str, str], eos: Sequence[int]) -> None:
        """
        tokenizer: a transformers tokenizer with a chat template. video: the placeholder of the family; wrap: what the
        template may put around it. Raises: ValueError: no chat template, or it takes no video, or yes is no.
        """
        self._tokenizer = tokenizer
        self._ids = lru_cache(maxsize=4096)(self._tokenise)  # a camera's rules are the same at every frame
        if not tokenizer.chat_template:
            raise ValueError("the tokenizer has no chat template")
        text = tokenizer.apply_chat_template(
            [
                {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
                {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": _MARK}]},
            ],
            tokenize=False,
            add_generation_prompt=True,
        )
        before, found, after = text.partition(video)
        question = after.removeprefix(wrap[1]).split(_MARK)
        if not found or len(question) != 2:
            raise ValueError("the chat template does not write a video and a question")
        self.head_text: str = before.removesuffix(wrap[0])
        self.head: tuple[int, ...] = self._ids(self.head_text)
        self._lead = self._ids(question[0])
        self._tail = self._ids(question[1])
        self.eos: frozenset[int] = frozenset(eos)
        self.yes, self.no = self._words(_YES), self._words(_NO)
        if set(self.yes) & set(self.no):
            raise ValueError("the tokenizer begins yes and no with the same token")

    def question(self, text: str) -> tuple[int, ...]:
        """Ids from behind the newest frame to where the answer begins. Special tokens in `text` are plain text."""
        return (*self._lead, *self._ids(text, plain=True), *self._tail)

    def check(self, question: str) -> tuple[int, ...]:
        """The same for a rule, asked so that the next token is yes or no."""
        return self.question(CHECK.format_map({"question": question}))

    def text(self, text: str) -> tuple[int, ...]:
        """Ids of a piece that the family itself writes, special tokens and all."""
        return self._ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of an answer: special tokens, control characters and broken UTF-8 left out."""
        raw: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return "".join(c for c in raw if c in "\n\t" or (c != "\ufffd" and unicodedata.category(c) != "Cc"))

    def _tokenise(self, text: str, *, plain: bool = False) -> tuple[int, ...]:
        if not text:
            return ()
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=plain)
        return tuple(encoded["input_ids"])

    def _words(self, words: Sequence[str]) -> tuple[int, ...]:
        """Ids of the words that are one token; else the first token of the first word."""
        encoded = [self._ids(word) for word in words]
        single = tuple(dict.fromkeys(ids[0] for ids in encoded if len(ids) == 1))
        return single or encoded[0][:1]


class AnswerText:
    """
    Text of one answer as it grows: whole characters only, each handed out once.

    A character whose bytes are split over two tokens decodes to nothing until it is complete; what was said before it
    stays a prefix, because broken UTF-8 is judged from left to right.
    """

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._ids: list[int] = []
        self._said = ""

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Sequence[int]) -> str:
        """What these tokens add to the text."""
        self._ids.extend(ids)
        text = self._dialogue.decode(self._ids)
        new, self._said = text[len(self._said) :], text
        return new
