"""Filters as a line of text, for the command line: ``brand = 'x' and (price < 10 or not sold exists)``.

    comparison   field = value, and != < <= > >=
                 field in ('x', 'y'), field not in (1, 2), field exists
    joined by    and, or, not, parentheses; ``not`` binds most, ``or`` least
    field        a word of letters, digits and _ . -, or anything in backquotes: `unit price`
    value        'text' or "text" (a quote within is doubled), a number, true, false

Text that begins with { is read as JSON: the mapping of ``nearfar.indexing.filters`` itself.
"""

from __future__ import annotations

import json
import re
from typing import Any

from nearfar.errors import InputError
from nearfar.indexing.filters import parse_filter

__all__ = ["read_where"]

TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<sign><=|>=|!=|==|=|<|>|\(|\)|,)
      | (?P<quoted>`[^`]+`)
      | (?P<word>[^\W\d][\w.\-]*)
    )""",
    re.VERBOSE,
)
LONGEST = 100_000
KEYWORDS = ("and", "or", "not", "in", "exists", "true", "false")


def read_where(text: str) -> dict[str, Any]:
    """Return the mapping that a line of text stands for.

    Raises:
        InputError: when it cannot be understood; the place is named.
    """
    if len(text) > LONGEST:
        raise InputError(f"filter: text must be of at most {LONGEST} characters, got {len(text)}")
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"filter: must be JSON when it begins with {{, got another text ({error})") from None
    else:
        found = _Reader(text).read()
    parse_filter(found)
    return dict(found)


class _Reader:
    """A recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        self.place = self.depth = 0
        position = 0
        while text[position:].strip():
            match = TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                start = position + len(text[position:]) - len(text[position:].lstrip())
                raise InputError(f"filter: text must be understood, got {text[start : start + 20]!r} at {start + 1}")
            value = match.group(match.lastgroup)
            kind = match.lastgroup
            if kind == "word" and value.lower() in KEYWORDS:
                kind, value = "keyword", value.lower()
            self.tokens.append((kind, value, match.start(match.lastgroup)))
            position = match.end()

    def read(self) -> dict[str, Any]:
        found = self._either()
        if self.place < len(self.tokens):
            raise self._wrong("and, or, or the end")
        return found

    def _peek(self, *values: str) -> bool:
        return self.place < len(self.tokens) and self.tokens[self.place][1] in values and self._kind() != "text"

    def _kind(self) -> str:
        return self.tokens[self.place][0] if self.place < len(self.tokens) else ""

    def _take(self, *values: str) -> str:
        if not self._peek(*values):
            raise self._wrong(" or ".join(values))
        self.place += 1
        return self.tokens[self.place - 1][1]

    def _wrong(self, must: str) -> InputError:
        if self.place >= len(self.tokens):
            return InputError(f"filter: text must go on with {must}, got its end")
        _, value, start = self.tokens[self.place]
        return InputError(f"filter: text must have {must} at {start + 1}, got {value[:40]!r}")

    def _either(self) -> dict[str, Any]:
        parts = [self._both()]
        while self._peek("or"):
            self._take("or")
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else {"or": parts}

    def _both(self) -> dict[str, Any]:
        parts = [self._unary()]
        while self._peek("and"):
            self._take("and")
            parts.append(self._unary())
        return parts[0] if len(parts) == 1 else {"and": parts}

    def _unary(self) -> dict[str, Any]:
        self.depth += 1
        if self.depth > 40:
            raise InputError("filter: depth must be <= 40, got more")
        try:
            if self._peek("not"):
                self._take("not")
                return {"not": self._unary()}
            if self._peek("("):
                self._take("(")
                found = self._either()
                self._take(")")
                return found
            return self._condition()
        finally:
            self.depth -= 1

    def _condition(self) -> dict[str, Any]:
        if self._kind() not in ("word", "quoted"):
            raise self._wrong("the name of a field")
        name = self.tokens[self.place][1].strip("`")
        self.place += 1
        if self._peek("exists"):
            self._take("exists")
            return self._about(name, {"exists": True})
        if self._peek("in", "not"):
            op = "in" if self._take("in", "not") == "in" else "not " + self._take("in")
            return self._about(name, {op: self._list()})
        sign = self._take("=", "==", "!=", "<", "<=", ">", ">=")
        return self._about(name, {"=" if sign == "==" else sign: self._value()})

    @staticmethod
    def _about(name: str, condition: dict[str, Any]) -> dict[str, Any]:
        if name in ("and", "or", "not"):
            raise InputError(f"filter: fields must not be called {name!r}, got one")
        return {name: condition}

    def _list(self) -> list[Any]:
        self._take("(")
        found = [self._value()]
        while self._take(",", ")") == ",":
            found.append(self._value())
        return found

    def _value(self) -> Any:
        kind = self._kind()
        if kind not in ("text", "number") and not self._peek("true", "false"):
            raise self._wrong("a text in quotes, a number, true or false")
        value = self.tokens[self.place][1]
        self.place += 1
        if kind == "text":
            return value[1:-1].replace(value[0] * 2, value[0])
        if kind == "number":
            return int(value) if re.fullmatch(r"[-+]?\d+", value) else float(value)
        return value == "true"
