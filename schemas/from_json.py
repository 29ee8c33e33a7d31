"""From JSON: a file that may be foreign or damaged in, a dict or a dataclass of known shape out.

Refused: what is no JSON object; a key that is unknown or missing, a value of another kind:
         ValueError that names the key and tells nothing of what the file holds.
Numbers are whole ones from 0 to 2**63, or floats; nothing at rest is anything else.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
LARGEST: Final = 2**63
_SHOWN: Final = 60  # characters of a key
_NAMES: Final = {dict: "a table", list: "a list", str: "a text", bool: "true or false",
                 int: "a whole number", float: "a number", type(None): "null"}  # fmt: skip


def json_object(data: bytes | str) -> dict[str, Any]:
    """Raises ValueError, which quotes none of it, for anything else than a JSON object."""
    try:
        read = json.loads(data)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if not isinstance(read, dict):
        raise ValueError(f"it is {_NAMES[type(read)]}, where a table is expected")
    return read


def built(kind: type[T], table: object, at: str = "", **made: object) -> T:
    """A dataclass of a JSON object's values; `made` are fields that JSON does not hold.

    Raises:
        ValueError: naming the first key that is not as the dataclass has it.
    """
    if table is None:
        raise ValueError(f"{at or 'it'} is missing")
    if not isinstance(table, Mapping):
        raise _other(table, "a table", at)
    hints = get_type_hints(kind)
    values = dict(made)
    for name, value in table.items():
        if name not in hints or name in made:
            raise ValueError(f"{_below(at, name)} is no key that this interloom knows")
        values[name] = _value(hints[name], value, _below(at, name))
    assert is_dataclass(kind)
    for field in fields(kind):
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and field.name not in values:
            raise ValueError(f"{_below(at, field.name)} is missing")
    return kind(**values)


def _value(kind: object, value: object, at: str) -> object:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in {Union, types.UnionType}:
        (some,) = (
            member for member in inner if member is not type(None)
        )  # X | None is all there is
        return None if value is None else _value(some, value, at)
    if origin is tuple:
        if not isinstance(value, list):
            raise _other(value, "a list", at)
        return tuple(_value(inner[0], item, f"{at}[{number}]") for number, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _other(value, "a table", at)
        return {
            _text(name, at): _value(inner[1], item, _below(at, name))
            for name, item in value.items()
        }
    assert isinstance(kind, type)
    if is_dataclass(kind):
        return built(kind, value, at)
    return _single(kind, value, at)


def _single(kind: type, value: object, at: str) -> object:
    """A text, a number, or true or false; a whole number is a float, too."""
    if kind is str and isinstance(value, str):
        return _text(value, at)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is float and isinstance(value, float):
        return value
    if kind in {int, float} and isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < LARGEST:
            return value
        raise ValueError(f"{at} is out of bounds: a whole number is from 0 to 2**63")
    raise _other(value, _NAMES[kind], at)


def _text(value: str, at: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{at} holds half of a surrogate pair, which is no text") from error
    return value


def _below(at: str, name: str) -> str:
    shown = ascii(name)[1:-1][:_SHOWN]
    return f"{at}.{shown}" if at else shown


def _other(value: object, expected: str, at: str) -> ValueError:
    return ValueError(f"{at or 'it'} is {_NAMES[type(value)]}, where {expected} is expected")
