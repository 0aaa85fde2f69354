"""How much of the corpus a reader gets right, by group; what tests and the benchmark share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from relay.mail.classify import Classification, classify
from tests.corpus import captured, development, held_out, ordinary
from tests.corpus.parts import Case


@dataclass(slots=True)
class Score:
    """Of `cases`: those whose kind and recipients are right, and of `typed` whose type, and type and subtype, are.

    `hardened` are those that are Transient and were called Permanent; `wrong` names what is not right.
    """

    cases: int = 0
    named: int = 0
    typed: int = 0
    types: int = 0
    sub_types: int = 0
    hardened: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, case: Case, found: Classification) -> None:
        """Count one case."""
        self.cases += 1
        recipients = {each.address.lower() for each in found.recipients}
        expected = {each.lower() for each in case.recipients}
        named = found.kind == case.kind and (recipients == expected or case.group in {"auto", "ordinary"})
        feedback = found.complaint.feedback_type if found.complaint is not None else ""
        named = named and feedback == case.feedback_type
        self.named += named
        right = named
        if case.kind == "bounce" and case.label is not None:
            self.typed += 1
            kind = (found.bounce.bounce_type, found.bounce.bounce_sub_type) if found.bounce else ("", "")
            self.types += kind[0] == case.label[0]
            self.sub_types += kind == case.label
            self.hardened += case.label[0] != "Permanent" and kind[0] == "Permanent"
            right = right and kind == case.label
        if not right:
            self.wrong.append(case.name)

    @property
    def named_share(self) -> float:
        """The share whose kind and recipients are right."""
        return self.named / self.cases

    @property
    def type_share(self) -> float:
        """The share whose type is right, of those that have one; with a wrong kind it is wrong too."""
        return self.types / self.typed if self.typed else 1.0


def measure(cases: Iterable[Case], read: Callable[[bytes], Classification] = classify) -> dict[str, Score]:
    """Return the scores by group."""
    scores: dict[str, Score] = {}
    for case in cases:
        scores.setdefault(case.group, Score()).add(case, read(case.content))
    return scores


def held_out_cases() -> list[Case]:
    """Return all that rules are not written for: constructed, and written by mail servers."""
    return [*held_out.cases(), *captured.cases()]


def all_reports() -> list[Case]:
    """Return every case that is no ordinary mail."""
    return [*development.cases(), *held_out_cases()]


def ordinary_cases() -> list[Case]:
    """Return the mail that is no report."""
    return ordinary.cases()
