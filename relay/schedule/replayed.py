"""Replies as they were recorded, read back into outcomes: for examples of rules, and for replays. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from relay.model.outcome import Outcome, Stage, Verdict

_REPLY = re.compile(r"([2-5][0-9]{2})[ -](?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$))?(.*)", re.DOTALL)
_VERDICTS = {"2": Verdict.DELIVERED, "5": Verdict.PERMANENT}
_TEXT_MAX = 1000


def outcome_of(reply: str, stage: str = "") -> Outcome:
    """Return the outcome of a reply as one line, `421 4.7.0 text`; words of our own (no reply code) are `local`."""
    found = _REPLY.match(reply[: _TEXT_MAX + 20])
    try:
        where = Stage(stage) if stage else Stage.FINAL_DOT
    except ValueError:
        where = Stage.FINAL_DOT
    if found is None:
        return Outcome(Verdict.TEMPORARY, where, 0, "", reply[:_TEXT_MAX], local=True)
    verdict = _VERDICTS.get(found[1][0], Verdict.TEMPORARY)
    return Outcome(verdict, where, int(found[1]), found[2] or "", found[3][:_TEXT_MAX])


def recorded(attempt: Mapping[str, Any]) -> Outcome:
    """Return the outcome of an attempt record (`relay.pipeline.report.attempt_record`)."""
    made = outcome_of(str(attempt.get("reply") or ""), str(attempt.get("stage") or ""))
    return Outcome(
        made.verdict,
        made.stage,
        made.code,
        made.enhanced,
        made.text,
        made.local,
        str(attempt.get("remoteHost") or ""),
        str(attempt.get("remoteAddress") or ""),
        str(attempt.get("sourceAddress") or ""),
        started_ms=int(attempt.get("startedMs") or 0),
        finished_ms=int(attempt.get("finishedMs") or 0),
    )
