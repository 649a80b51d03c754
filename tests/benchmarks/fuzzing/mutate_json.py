"""Seeded mutations of JSON, with whatever spelling."""

import copy
import json
import random
from typing import Any

from fuzzing.values import TEXTS

VALUES = r"""
1e400 -1e400 NaN Infinity -Infinity -0.0 -0 0 0.0 1 1.0 1E0 10e-1 0.5 0.50 5e-1 01 1. .5 +1 0x1 -1 2 1e-400 true false
null True [] {} [[]] [0] [null] [1,2,3] {"a":0} {"a":0,"a":0} undefined [1,] 'a' "\x" "" "1" "a" "\u0061" "\ud800"
"\ud83d\ude00" "\u0000" "\n" "é" "unfinished "F64" "F32" "I64" "rgb" "grey" "NHWC" /**/1 2147483648 9007199254740993
9223372036854775808 18446744073709551616
"""
SPELLINGS = (
    *VALUES.split(),
    *("[" * 31 + "]" * 31, "[" * 40 + "]" * 40, "[" * 20000 + "]" * 20000, "[" * 90000, '{"a":' * 30000, ""),
    *("1" + "0" * 308, "1" + "0" * 400, "1" + "0" * 4200, "1" + "0" * 5000, "-1" + "0" * 400, '"' + "0" * 64 + '"'),
    *(" 1", "1 ", "1\n", "\t[]", '"\x01"'),
)
"""How a JSON value, or what is none, may be written."""


class Raw(str):
    """A value that is written as it stands."""


class Object(list[tuple[str, Any]]):
    """An object as its pairs, in any order and any of them twice."""


def read_json(text: str) -> Any:
    """Read JSON as a tree that keeps the order of keys."""
    return json.loads(text, object_pairs_hook=Object)


def write_json(value: Any) -> str:
    """Write such a tree without spaces."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, Object):
        return "{" + ",".join(f"{json.dumps(key)}:{write_json(item)}" for key, item in value) + "}"
    return "[" + ",".join(map(write_json, value)) + "]" if isinstance(value, list) else json.dumps(value)


def mutate_json(rng: random.Random, tree: Any) -> str:
    """Mutate such a tree in place: a value, a key, the order, or how many there are."""
    places, left = [], [tree]
    for value in left:
        if isinstance(value, list) and value:
            places.append(value)
            left += [item for _, item in value] if isinstance(value, Object) else value
    place = rng.choice(places)
    at, kind = rng.randrange(len(place)), rng.choice(("value", "value", "delete", "again", "order", "key", "move"))
    key, value = place[at] if isinstance(place, Object) else ("", place[at])
    raw = Raw(rng.choice(SPELLINGS))
    pair = isinstance(place, Object)
    match kind:
        case "value":
            place[at] = (key, raw) if pair else raw
        case "delete":
            del place[at]
        case "again":
            item = rng.choice((value, raw))
            place.insert(rng.randrange(len(place) + 1), (key, item) if pair else item)
        case "order":
            rng.shuffle(place)
        case "key" if pair:
            new = rng.choice((*TEXTS, key.upper(), key + "\0", rng.choice(place)[0]))
            place[at] = (new, value)
        case _:
            other = rng.choice(places)
            item = rng.choice(other)
            item = copy.deepcopy(item[1] if isinstance(other, Object) else item)
            place[at] = (key, item) if pair else item
    return f"{kind} {key[:20]!r} {raw[:20] if kind in ('value', 'again') else ''}".rstrip()
