"""What `relay configuration-set create` and `set` take."""

from typing import Annotated

import typer

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The configuration set.")]
SendingOption = Annotated[
    bool | None, typer.Option("--sending/--no-sending", help="Whether mail may be sent with it.", show_default=False)
]
MetricsOption = Annotated[
    bool | None,
    typer.Option("--reputation-metrics/--no-reputation-metrics", help="Count its bounces.", show_default=False),
]
TlsOption = Annotated[
    str | None,
    typer.Option(
        "--tls", metavar="POLICY", help="REQUIRE: its mail leaves over TLS only; OPTIONAL.", show_default=False
    ),
]
PoolOption = Annotated[
    str | None,
    typer.Option("--pool", metavar="NAME", help='The pool of source addresses; "": the default.', show_default=False),
]
SecondsOption = Annotated[
    int | None,
    typer.Option(
        "--max-delivery-seconds",
        metavar="N",
        help="How long its mail is tried: 300 to 50400, 0: as long as all mail.",
        show_default=False,
    ),
]
ReasonsOption = Annotated[
    str | None,
    typer.Option(
        "--suppressed-reasons",
        metavar="REASONS",
        help="Which entries of the suppression list stop its mail: BOUNCE, COMPLAINT, both with a comma, `none`, or "
        "`account` for all that the account's list has.",
        show_default=False,
    ),
]
RedirectOption = Annotated[
    str | None,
    typer.Option("--redirect-domain", metavar="DOMAIN", help='Domain of its links; "": none.', show_default=False),
]
HttpsOption = Annotated[
    str | None,
    typer.Option(
        "--https", metavar="POLICY", help="Of its links: OPTIONAL, REQUIRE or REQUIRE_OPEN_ONLY.", show_default=False
    ),
]
PriorityOption = Annotated[
    str | None,
    typer.Option(
        "--priority",
        metavar="CLASS",
        help="TRANSACTIONAL, BULK (waits behind transactional mail of the account), or AUTO: as each message says.",
        show_default=False,
    ),
]
WeightOption = Annotated[
    int | None,
    typer.Option(
        "--weight", metavar="N", help="Share beside other sets of the account: 1 to 1000, 10.", show_default=False
    ),
]
EngagedOption = Annotated[
    bool | None,
    typer.Option(
        "--engaged/--not-engaged",
        help="Whether its recipients are known to want its mail, which then takes the room of a warm-up first.",
        show_default=False,
    ),
]
EngagementOption = Annotated[
    str | None,
    typer.Option(
        "--engagement-metrics",
        metavar="STATE",
        help="Whether opens and clicks of its mail are measured: ENABLED, DISABLED, or `account`: as the account.",
        show_default=False,
    ),
]
OptimizedOption = Annotated[
    str | None,
    typer.Option(
        "--optimized-delivery",
        metavar="STATE",
        help="Whether the best shared address is chosen by provider: ENABLED, DISABLED, or `account`.",
        show_default=False,
    ),
]
TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="KEY=VALUE", help="A tag; may be repeated.", show_default=False),
]
