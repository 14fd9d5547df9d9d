"""The regular expressions of the formula's own code, and whether the time that one takes grows faster than its text."""

import ast
import re
import re._parser as parser  # Python 3.11's name of sre_parse
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

TOP = Path(__file__).resolve().parents[2]
ANCHORED = ("match", "fullmatch", "Text")
"""Functions that try an expression at one place; the others try it at each."""
MANY = 300
"""So often, and what is repeated counts as without a bound."""
_PLACES = ("AT_BEGINNING", "AT_BEGINNING_STRING", "AT_END", "AT_END_STRING")
EVERY = frozenset(range(256)) | {None}
"""All characters as the sets below have them; ``None`` stands for those beyond Latin-1."""


def written():
    """Yield each expression as (file, function, pattern); what an f-string fills in is not known, and is ``x``."""
    for folder in ("_utils", "_modules", "_states", "_runners", "_output"):
        for path in sorted((TOP / folder).rglob("*.py")):
            tree = ast.parse(path.read_text())
            used = _uses(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and _function(node.value) == "compile":
                    yield from (
                        (str(path.relative_to(TOP)), use, _pattern(node.value.args[0]))
                        for use in used[node.targets[0].id]
                    )
                elif _function(node) and _function(node) != "compile":
                    pattern = _pattern(node.args[0])
                    if pattern is not None:
                        yield str(path.relative_to(TOP)), _function(node), pattern


def _uses(tree):
    """Return what is done with the expressions that a file has compiled, by their names."""
    found = defaultdict(set)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id != "re":
            found[node.value.id].add(node.attr)
    return found


def _function(node):
    """Return which function of ``re`` is called, or ``Text``, a kind of the schema, which matches the whole text."""
    if not isinstance(node, ast.Call) or not node.args:
        return None
    called = node.func
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "re":
        return called.attr if called.attr != "escape" else None
    return "Text" if isinstance(called, ast.Name) and called.id == "Text" else None


def _pattern(node):
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        text = _pattern(node.left)
        return None if text is None else text.replace(b"%d", b"9") if isinstance(text, bytes) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(one.value if isinstance(one, ast.Constant) else "x" for one in node.values)
    if isinstance(node, ast.BinOp):
        parts = [_pattern(node.left), _pattern(node.right)]
        return "".join(one or "x" for one in parts)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) else None


def ambiguous(pattern, is_anchored):
    """Return why an expression may take longer than in proportion to its text; ``""`` if it does not.

    Two repeats side by side that take the same characters, a repeat within a repeat that nothing parts, and an
    expression that is tried at each place, with a repeat that runs over the places where it begins.
    """
    tree = parser.parse(pattern)
    items = _flat(tree)
    found = _side_by_side(items) or _nested(items)
    if found or is_anchored:
        return found
    return _runs_over(items, _first(items))


def _runs_over(items, first):
    for number, item in enumerate(items):
        if item.many and item.chars & first and any(not one.nullable for one in items[number + 1 :]):
            return f"{_shown(item)} runs over places where the expression begins"
        for body in () if item.loops else item.bodies:
            if found := _runs_over(body, first):
                return found
    return ""


def _side_by_side(items):
    for number, item in enumerate(items):
        for other in items[number + 1 :] if item.many else ():
            if other.many and other.chars & item.chars:
                return f"{_shown(item)} and {_shown(other)} take the same characters"
            if not other.nullable and not other.chars & item.chars:
                break
    for item in items:
        for body in item.bodies:
            if found := _side_by_side(body):
                return found
    return ""


def _nested(items):
    for item in items:
        for body in item.bodies:
            inner = [one for one in _deep(body) if one.varies]
            parted = [one for one in body if not one.nullable and not one.varies]
            for one in inner if item.loops else ():
                if not any(not part.chars & one.chars for part in parted):
                    return f"{_shown(one)} in a repeat, and nothing parts one from the next"
            if found := _nested(body):
                return found
    return ""


def _deep(body):
    for one in body:
        yield one
        for inner in one.bodies:
            yield from _deep(inner)


def _first(items):
    """Return the characters with which the text of an expression may begin."""
    found = frozenset()
    for item in items:
        found |= item.first
        if not item.nullable:
            return found
    return EVERY


def _shown(item):
    return f"the repeat {item.text}"


def _flat(tree):
    return [one for op, value in tree for one in _items(op, value)]


def _items(op, value):
    """Return the parts of an expression: their characters, whether they repeat, and what is within them."""
    name = str(op)
    if name in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
        return [_part(name, _chars(name, value))]
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, body = value
        inside = _flat(body)
        chars = frozenset().union(*(one.chars for one in inside))
        part = _part(
            f"{{{least},{most}}} of {len(chars)} characters", chars, nullable=least == 0 or _all_nullable(inside)
        )
        part.many = part.loops = most > MANY
        part.varies, part.bodies = most != least, [inside]
        part.first = _first(inside)
        return [part]
    if name == "SUBPATTERN":
        return _flat(value[3])
    if name == "BRANCH":
        bodies = [_flat(one) for one in value[1]]
        chars = frozenset().union(*(one.chars for body in bodies for one in body))
        part = _part("a choice", chars, nullable=any(_all_nullable(one) for one in bodies))
        part.bodies = bodies
        part.first = frozenset().union(*(_first(one) if one else frozenset() for one in bodies))
        part.many = any(one.many for body in bodies for one in body)
        return [part]
    if name == "AT":
        # ^ of a line begins after a line break; of a text, nowhere but at its start.
        chars = frozenset({10} if "BEGINNING" in str(value) else ())
        return [_part("at", chars)] if str(value) in _PLACES else []
    return []  # what looks ahead or behind takes no characters


def _all_nullable(items):
    return all(one.nullable for one in items)


def _part(text, chars, nullable=False):
    return SimpleNamespace(
        text=text, chars=chars, first=chars, nullable=nullable, many=False, loops=False, varies=False, bodies=[]
    )


def _chars(name, value):
    if name == "LITERAL":
        return frozenset({value if value < 256 else None})
    if name == "NOT_LITERAL":
        return EVERY - {value}
    if name == "ANY":
        return EVERY - {10}
    found = set()
    for op, one in value:
        if str(op) == "NEGATE":
            continue
        if str(op) == "LITERAL":
            found.add(one if one < 256 else None)
        elif str(op) == "RANGE":
            found |= set(range(one[0], min(one[1], 255) + 1)) | ({None} if one[1] > 255 else set())
        else:
            found |= _category(str(one))
    return EVERY - found if str(value[0][0]) == "NEGATE" else frozenset(found)


def _category(name):
    kind = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[name.rpartition("_")[2]]
    found = {number for number in range(256) if re.match(kind, chr(number))} | {None}
    return EVERY - found if "NOT" in name else found
