"""The reference page of files with shaping rules, made from their classes.

`python -m relay.runtime.config.shaping_reference > docs/reference/shaping.md` writes it; a test tells a stale page.
"""

import sys

from relay.runtime.config.reference import section_tables, table
from relay.runtime.config.shaping_file import ShapingFile
from relay.schedule.hints import HINT_SECONDS_MAX
from relay.schedule.patterns import PATTERN_MAX, REPEAT_MAX, TEXT_MAX

_HEAD = f"""\
# Shaping rules

A file of rules is about one provider: which hosts it has, how much it bears, and what its replies mean.
Those that are shipped are in [config/shaping](../../config/shaping); your own are named by `shaping.directory` and
`shaping.files` in the [configuration](configuration.md).
This page is generated from the program (`make docs`). How to: [write a rule](../howto/shaping-rules.md),
[read a slow lane](../howto/slow-lane.md), [what to do when blocked](../howto/blocked.md).

## How rules are found
1. A recipient domain that is named in `match.domains` goes by these rules, whatever its hosts are.
2. Mail with a route goes by those of the smart host: `match.routes`, else `match.hosts`.
3. Else the most preferred mail exchangers decide: `match.hosts`. A backup exchanger says nothing.
4. What nobody knows goes by the file of the name `default`, and by the limits of `delivery`.

Of several patterns the closest counts: the name itself, then the longest ending; wildcards inside go before `*.`.
All destinations with the same rules share one lane for each source address, unless `rollup` is `false`.

## How replies are judged
Each failing reply of a remote is held against the responses of its provider, then against those of `default`.
The first that fits decides, and no other is asked.
Replies of success are looked at only where a rule names their code.
Words of the relay's own (no connection, no answer, DNS) are never judged.

Two things are understood without any rule:
- a temporary reply that names a time (`try again in 5 minutes`): the delivery waits so long, at most
  {HINT_SECONDS_MAX / 3600:g} hours; `retry_after` of the rule that decides goes before it;
- a DNS block list (`blocked using zen.spamhaus.org`): it is named in events, trace, log and metrics, with advice.

| action | does |
|---|---|
| `slow` | the lane goes on with a share of its connections and rates, then rises step by step |
| `pause` | nothing is sent on the lane; what waits is put off without an attempt |
| `switch` | the source address is passed over at this provider; others of its pool go on |
| `suspend_account`, `suspend_set` | nothing of the account, or of its configuration set, is sent to the provider |
| `bounce` | the delivery fails for good, though the reply is temporary |
| `retry` | the delivery is tried again, though the reply is permanent, up to so many attempts |
| `retry_after` | the delivery is not tried again before that |
| `blocklist` | the block list that the reply means is named |

Several actions of one rule are done together. Each ends by itself.
For 5 seconds after an effect was put into force, the same reply on the same lane does not ask for it again.

## Patterns
Patterns are regular expressions without anything that needs backtracking, because the text is the remote's: an enemy
could make such an expression take for ever.
A pattern is looked for anywhere in the text behind the codes; upper and lower case are the same; the first {TEXT_MAX}
characters of a reply count. The lines of a longer reply are joined by spaces.

| written | fits |
|---|---|
| `a`, `\\.` | the character; a sign with a meaning needs a `\\` |
| `.` | any character |
| `[a-z]`, `[^0-9]`, `\\d` `\\w` `\\s`, `\\D` `\\W` `\\S` | one of a class, or none of it |
| `(one\\|two)`, `(?:...)` | one of several |
| `?` `*` `+` `{{2,5}}` | repetitions; counts up to {REPEAT_MAX} |
| `^` at the beginning, `$` at the end | where the text begins or ends |

There are no look-arounds, references, lazy forms and no `\\b`; a pattern has at most {PATTERN_MAX} characters.
Single quotes keep YAML from changing a `\\`.

## What is checked
All faults of all files come at once, with file, line and the nearest key, from `relay shaping check`, `relay check`,
the start and every reload; with one, the old rules stay. An example that another rule decides about is a fault too.

## The file
"""


def page() -> str:
    """Return the whole page."""
    lines = [_HEAD.rstrip("\n"), *table(ShapingFile, "")]
    for name, field in ShapingFile.model_fields.items():
        lines += section_tables(name, field)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
