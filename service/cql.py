"""OGC Common Query Language (CQL2) as text: filters on a feature's properties, as QGIS and GDAL write them.

Comparisons, IS NULL, LIKE, BETWEEN, IN, AND, OR, NOT over strings, numbers, truth values and times; no geometry (bbox
does that) and no arithmetic. A property that is missing or null makes a comparison unknown, as in SQL: neither it nor
its negation finds the feature.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from service.errors import BadQuery
from service.moments import moment

Kind = Literal["string", "number", "boolean", "date-time"]
Properties = Mapping[str, Any]
Predicate = Callable[[Properties], bool | None]

MAX_CHARS, MAX_DEPTH = 4_000, 40
TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^']|'')*')
    |(?P<quoted>"[^"]+")
    |(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<word>[A-Za-z_][\w:.]*)
    |(?P<sign><>|<=|>=|[=<>(),]))""",
    re.VERBOSE,
)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
RESERVED = {"AND", "OR", "NOT", "IS", "NULL", "LIKE", "ILIKE", "BETWEEN", "IN", "TRUE", "FALSE"}


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a filter; ``text`` of words in capitals where they are reserved."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Operand:
    """A side of a comparison: a property, or a literal whose ``value`` is told."""

    kind: Kind
    name: str | None
    value: Any = None

    def of(self, properties: Properties) -> Any:
        """Return its value on a feature, None where it has none; times as seconds since 1970."""
        if self.name is None:
            return self.value
        found = properties.get(self.name)
        return moment(found) if self.kind == "date-time" and found is not None else found


def parse(text: str, queryables: Mapping[str, Kind]) -> Predicate:
    """Return what tells whether a feature's properties satisfy a filter; None for unknown.

    Raises
    ------
    BadQuery : no CQL2 text, more than is understood, or a property that cannot be asked for
    """
    if len(text) > MAX_CHARS:
        _refuse(f"it has more than {MAX_CHARS} characters")
    parser = _Parser(list(_tokens(text)), queryables)
    predicate = parser.disjunction(0)
    if parser.here.kind != "end":
        _refuse(f"{parser.here.text[:40]!r} is not expected after a whole condition")
    return predicate


def _refuse(why: str) -> NoReturn:
    raise BadQuery(
        f"filter is not understood: {why}; write CQL2 text such as direction = 'appeared'", pointer="filter"
    )


def _tokens(text: str) -> Iterator[Token]:
    place, whole = 0, text.rstrip()
    while place < len(whole):
        found = TOKEN.match(whole, place)
        if found is None or found.lastgroup is None:
            _refuse(f"{whole[place : place + 20].strip()!r} is no part of it")
        said, place = found[found.lastgroup], found.end()
        if found.lastgroup == "string":
            yield Token("string", said[1:-1].replace("''", "'"))
        elif found.lastgroup == "quoted":
            yield Token("name", said[1:-1])
        elif found.lastgroup == "word" and said.upper() in RESERVED:
            yield Token("reserved", said.upper())
        else:
            yield Token("name" if found.lastgroup == "word" else found.lastgroup, said)
    yield Token("end", "the end")


class _Parser:
    """Reads tokens by descent; ``depth`` keeps brackets from going deeper than a call stack."""

    def __init__(self, tokens: Sequence[Token], queryables: Mapping[str, Kind]) -> None:
        self._tokens = tokens
        self._at = 0
        self._queryables = queryables

    @property
    def here(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self.here
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _takes(self, text: str) -> bool:
        """Step over a sign or reserved word if it comes next."""
        found = self.here.kind in {"reserved", "sign"} and self.here.text == text
        if found:
            self._next()
        return found

    def _needs(self, text: str) -> None:
        if not self._takes(text):
            _refuse(f"{text} is expected at {self.here.text[:40]!r}")

    def disjunction(self, depth: int) -> Predicate:
        parts = [self._conjunction(depth)]
        while self._takes("OR"):
            parts.append(self._conjunction(depth))
        return _any(parts) if len(parts) > 1 else parts[0]

    def _conjunction(self, depth: int) -> Predicate:
        parts = [self._negation(depth)]
        while self._takes("AND"):
            parts.append(self._negation(depth))
        return _all(parts) if len(parts) > 1 else parts[0]

    def _negation(self, depth: int) -> Predicate:
        if depth > MAX_DEPTH:
            _refuse(f"its brackets are more than {MAX_DEPTH} deep")
        if self._takes("NOT"):
            return _not(self._negation(depth + 1))
        if self._takes("("):
            inside = self.disjunction(depth + 1)
            self._needs(")")
            return inside
        return self._condition()

    def _condition(self) -> Predicate:
        left = self._operand()
        if self.here.kind == "sign" and self.here.text in COMPARISONS:
            return _comparison(left, COMPARISONS[self._next().text], self._operand())
        if self._takes("IS"):
            negated = self._takes("NOT")
            self._needs("NULL")
            return lambda told: (left.of(told) is None) is not negated
        if self._takes("NOT"):
            return _not(self._range(left))
        return self._range(left)

    def _range(self, left: Operand) -> Predicate:
        if self._takes("BETWEEN"):
            low = _comparison(left, operator.ge, self._operand())
            self._needs("AND")
            return _all([low, _comparison(left, operator.le, self._operand())])
        if self._takes("IN"):
            self._needs("(")
            parts = [_comparison(left, operator.eq, self._operand())]
            while self._takes(","):
                parts.append(_comparison(left, operator.eq, self._operand()))
            self._needs(")")
            return _any(parts)
        if self.here.text in {"LIKE", "ILIKE"}:
            flags = re.IGNORECASE if self._next().text == "ILIKE" else 0
            pattern = self._operand()
            if left.kind != "string" or pattern.kind != "string" or pattern.name is not None:
                _refuse("LIKE compares text with a pattern such as 'north%'")
            return _like(left, re.compile(_glob(pattern.value), re.DOTALL | flags))
        _refuse(f"a comparison is expected at {self.here.text[:40]!r}")

    def _operand(self) -> Operand:
        token = self._next()
        if token.kind == "string":
            return Operand("string", None, token.text)
        if token.kind == "number":
            return Operand("number", None, float(token.text))
        if token.kind == "reserved" and token.text in {"TRUE", "FALSE"}:
            return Operand("boolean", None, token.text == "TRUE")
        if token.kind != "name":
            _refuse(f"a property or a value is expected at {token.text[:40]!r}")
        if token.text.upper() in {"TIMESTAMP", "DATE"} and self._takes("("):
            said = self._next()
            self._needs(")")
            return Operand("date-time", None, _time(said.text))
        kind = self._queryables.get(token.text)
        if kind is None:
            known = ", ".join(sorted(self._queryables))
            raise BadQuery(f"filter asks for {token.text[:40]!r}; it may ask for {known}", pointer="filter")
        return Operand(kind, token.text)


def _time(text: str) -> float:
    return moment(text, pointer="filter")


def _comparison(left: Operand, compare: Callable[[Any, Any], bool], right: Operand) -> Predicate:
    """Return a comparison; a bare text beside a time is read as one, as GDAL writes them."""
    if left.kind == "date-time" and right.kind == "string" and right.name is None:
        right = Operand("date-time", None, _time(right.value))
    if right.kind == "date-time" and left.kind == "string" and left.name is None:
        left = Operand("date-time", None, _time(left.value))
    if left.kind != right.kind:
        _refuse(f"{_called(left)} cannot be compared with {_called(right)}")

    def predicate(told: Properties) -> bool | None:
        a, b = left.of(told), right.of(told)
        return None if a is None or b is None else compare(a, b)

    return predicate


def _called(operand: Operand) -> str:
    return f"the {operand.kind} {repr(operand.value)[:40] if operand.name is None else operand.name}"


def _like(operand: Operand, pattern: re.Pattern[str]) -> Predicate:
    def predicate(told: Properties) -> bool | None:
        text = operand.of(told)
        return None if text is None else pattern.fullmatch(text) is not None

    return predicate


def _glob(pattern: str) -> str:
    """Return a LIKE pattern as a regular expression that never looks back: stretches are found from the left."""
    first, *rest = _stretches(pattern)
    if not rest:
        return first
    return first + "".join(f"(?>.*?{stretch})" for stretch in rest[:-1]) + f".*{rest[-1]}"


def _stretches(pattern: str) -> list[str]:
    """Return what stands between the ``%`` of a pattern; a backslash takes the next sign as it is."""
    parts = [""]
    for sign in re.findall(r"\\.|.", pattern, re.DOTALL):
        if sign == "%":
            parts.append("")
        else:
            parts[-1] += "." if sign == "_" else re.escape(sign[-1])
    return parts


def _all(parts: Iterable[Predicate]) -> Predicate:
    several = tuple(parts)

    def predicate(told: Properties) -> bool | None:
        found = [part(told) for part in several]
        return False if False in found else None if None in found else True

    return predicate


def _any(parts: Iterable[Predicate]) -> Predicate:
    several = tuple(parts)

    def predicate(told: Properties) -> bool | None:
        found = [part(told) for part in several]
        return True if True in found else None if None in found else False

    return predicate


def _not(part: Predicate) -> Predicate:
    def predicate(told: Properties) -> bool | None:
        found = part(told)
        return None if found is None else not found

    return predicate
