"""Compares JSON with the skeletons of docs/spec/feedback.md section 3, which are read from that file.

`faults(value, name)` says where a value is not what the skeleton of a name says: keys that are missing, keys that
nobody documented, values of another type. `ADDITIONS` are keys beside the skeletons (EVT-011), by what they are keys
of; docs/howto/events.md names them.
"""

import functools
import json
import re
from pathlib import Path

SPEC = Path(__file__).parent.parent / "docs" / "spec" / "feedback.md"

ADDITIONS = {"bouncedRecipients[]": {"blocklist"}, "delayedRecipients[]": {"blocklist"}}
EVENTS = {
    "Bounce": "Bounce",
    "Complaint": "Complaint",
    "Delivery": "Delivery",
    "Send": "Send",
    "Reject": "Reject",
    "Open": "Open",
    "Click": "Click",
    "Rendering Failure": "Rendering",
    "DeliveryDelay": "Delay",
    "Subscription": "Subscr.",
}

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
_TOKEN = re.compile(r'\s*("[^"]*"|[{}\[\],:?|]|…as event…|…|<[^>]*>|[A-Za-z]+(?:\([^)]*\))?)')
_BEGIN = re.compile(r"^([A-Z][A-Za-z.]*(?: [A-Za-z.]+)*?)\s*(?:\[R\]\s*)?=?\s*(\{.*)$")


def event_faults(event):
    """Return what is wrong with an event record."""
    name = EVENTS.get(event.get("eventType"))
    return [f"eventType {event.get('eventType')!r}"] if name is None else faults(event, name)


def faults(value, name):
    """Return what is wrong with a value that the skeleton `name` describes, one sentence each."""
    return list(_faults(value, skeletons()[name], ""))


@functools.cache
def skeletons():
    """Return the skeletons by name, as nested tuples: (kind, what)."""
    section = SPEC.read_text().partition("## 3. Records and notifications (EVT)")[2]
    block = section.partition("```\n")[2].partition("```")[0]
    found, name, text = {}, "", ""
    for line in block.splitlines():
        begun = _BEGIN.match(line) if not line.startswith(" ") else None
        if begun:
            found[name], (name, text) = text, begun.groups()
        elif line.startswith(("DT", "Stream", "  DT")):
            found[name], name, text = text, "", ""
        else:
            text += line
    found[name] = text
    found.pop("", None)
    parsed = {name: _Parser(text).value() for name, text in found.items()}
    for name in ("Bounce", "Complaint", "Delivery"):
        _fill_in(parsed[f"Notification {name}"][1], parsed[name][1])
    return parsed


def _fill_in(notification, event):
    """Put the keys of an event's body where a notification says `as event`."""
    for key, (shape, _optional) in notification.items():
        if shape[0] == "object" and "…" in shape[1]:
            del shape[1]["…"]
            shape[1].update({**event[key][0][1], **shape[1]})


class _Parser:
    """Reads one skeleton."""

    def __init__(self, text):
        self.tokens = [match.group(1) for match in _TOKEN.finditer(text)]

    def next(self):
        return self.tokens.pop(0)

    def at(self, token):
        if self.tokens and self.tokens[0] == token:
            self.next()
            return True
        return False

    def value(self):
        choices = [self.single()]
        while self.at("|"):
            choices.append(self.single())
        return choices[0] if len(choices) == 1 else ("one of", choices)

    def single(self):
        token = self.next()
        if token == "{":
            return self.object()
        if token == "[":
            inner = ("anything", None) if self.at("…") else self.value()
            assert self.next() == "]"
            return ("list", inner)
        if token.startswith('"'):
            return ("literal", token[1:-1])
        if token.startswith("<"):
            return ("anything", None)
        word = token.partition("(")[0]
        return {"null": ("literal", None)}.get(word, ("named", word))

    def object(self):
        keys = {}
        while not self.at("}"):
            token = self.next()
            if token == "…as event…":
                keys["…"] = (("anything", None), True)
            elif token == "…":
                self.at("}")
                return ("anything", None)
            elif token.startswith('"'):
                optional = self.at("?")
                assert self.next() == ":"
                keys[token[1:-1]] = (self.value(), optional)
            else:  # a word that stands for any key
                assert self.next() == ":"
                inner = self.value()
                assert self.next() == "}"
                return ("map", inner)
            self.at(",")
        return ("object", keys)


_WORDS = {
    "s": lambda value: isinstance(value, str),
    "n": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "b": lambda value: isinstance(value, bool),
    "T": lambda value: isinstance(value, str) and bool(_TIME.match(value)),
    "DT": lambda value: isinstance(value, str) and value.startswith("Email "),
}


def _faults(value, shape, where):
    kind, inner = shape
    return _READERS[kind](value, inner, where)


def _named(value, word, where):
    if word not in _WORDS:
        yield from _faults(value, skeletons()[word], where)
    elif not _WORDS[word](value):
        yield f"{where} is no {word}: {json.dumps(value)[:80]}"


def _literal(value, wanted, where):
    if value != wanted:
        yield f"{where} is not {wanted!r}: {json.dumps(value)[:80]}"


def _one_of(value, choices, where):
    tried = [list(_faults(value, choice, where)) for choice in choices]
    if all(tried):
        yield from min(tried, key=len)


def _list_of(value, inner, where):
    if not isinstance(value, list):
        yield f"{where} is no list"
        return
    for each in value:
        yield from _faults(each, inner, f"{where}[]")


def _map_of(value, inner, where):
    if not isinstance(value, dict):
        yield f"{where} is no object"
        return
    for key, each in value.items():
        yield from _faults(each, inner, f"{where}.{key}")


def _object_faults(value, keys, where):
    if not isinstance(value, dict):
        yield f"{where} is no object"
        return
    for key, (shape, optional) in keys.items():
        if key in value:
            yield from _faults(value[key], shape, f"{where}.{key}" if where else key)
        elif not optional:
            yield f"{where} lacks {key}"
    for key in value.keys() - keys.keys() - ADDITIONS.get(where.rpartition(".")[2], set()):
        yield f"{where} has {key}, which nobody documented"


_READERS = {
    "named": _named,
    "literal": _literal,
    "one of": _one_of,
    "list": _list_of,
    "map": _map_of,
    "object": _object_faults,
    "anything": lambda _value, _inner, _where: (),
}
