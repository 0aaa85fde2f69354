"""`relay verification`: links that are mailed to addresses, in the relay's own words or in those of a template."""

from typing import TYPE_CHECKING, Annotated

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import note, printable, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.mail.letter import Letter
    from relay.model.verification import VerificationTemplate
    from relay.runtime.cli.site import Site
    from relay.store.catalog_identities import IdentityDetails

app = typer.Typer(help="Mail verification links in words of your own.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `send` a command of its own while it is the only one."""


@app.command()
def send(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The address to verify.")],
    *,
    template: Annotated[str, typer.Option("--template", metavar="NAME", help="The verification template.")],
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mail a link in the words of a template; the identity appears once the link is used."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    mail_custom(open_site(config), account, address, template, as_json=as_json)


def create_address(
    site: "Site", account: str, address: str, tags: "Mapping[str, str]", configuration_set: str, *, as_json: bool
) -> None:
    """Add an address identity and mail its link."""
    from relay.policy.tags import require_tags  # noqa: PLC0415
    from relay.runtime.settings import own_names  # noqa: PLC0415

    require_tags(tags)
    with site.catalog() as catalog:
        name = catalog.verifications.create(
            account, address, _Request(site, account), own_names=own_names(site.config)
        )
        if configuration_set:
            catalog.configuration_sets.set_default(account, name, configuration_set)
        made = catalog.identities.change_tags(account, name, tags)
    site.audit("identity.create", account, {"identity": name, "configurationSet": configuration_set or None})
    _told(site, f"{printable(name)} is created, not verified yet; a link is mailed there.", made, as_json=as_json)


def resend_link(site: "Site", account: str, address: str, *, as_json: bool) -> None:
    """Mail a new link and void the older ones."""
    with site.catalog() as catalog:
        name = catalog.verifications.resend(account, address, _Request(site, account))
        made = catalog.identities.require(account, name)
    site.audit("identity.resend", account, {"identity": name})
    _told(site, f"A new link is mailed to {printable(name)}; older ones have ended.", made, as_json=as_json)


def mail_custom(site: "Site", account: str, address: str, template: str, *, as_json: bool) -> None:
    """Mail a link in the words of a template."""
    from relay.runtime.settings import own_names  # noqa: PLC0415

    with site.catalog() as catalog:
        ready = catalog.verification_templates.ready_to_send(account, template)
        request = _Request(site, account, ready)
        name = catalog.verifications.send_custom(account, address, ready, request, own_names=own_names(site.config))
    site.audit("verification.send", account, {"identity": name, "template": ready.name})
    if as_json:
        write_json({"address": name, "template": ready.name})
    _told(site, "" if as_json else f"A link is mailed to {printable(name)}, in the words of {template}.")


class _Request:
    """Writes the mail that carries a link."""

    def __init__(self, site: "Site", account: str, template: "VerificationTemplate | None" = None) -> None:
        self._config = site.config
        self._account = account
        self._template = template

    def __call__(self, address: str, token: str, expires_ms: int) -> "Letter":
        from relay.mail.custom_verification import custom_request  # noqa: PLC0415
        from relay.mail.notices import verification_request  # noqa: PLC0415
        from relay.model.verification import LINK_VALID_MS  # noqa: PLC0415
        from relay.runtime.settings import letterhead, verification_url  # noqa: PLC0415

        ours, url = letterhead(self._config), verification_url(self._config, token)
        now_ms = expires_ms - LINK_VALID_MS
        if self._template is not None:
            return custom_request(ours, self._template, address, url, now_ms=now_ms)
        return verification_request(ours, address, self._account, url, expires_ms=expires_ms, now_ms=now_ms)


def _told(site: "Site", sentence: str, made: "IdentityDetails | None" = None, *, as_json: bool = False) -> None:
    """Say what was done, for people or for programs; then what may be in the way of the mail."""
    from relay.runtime.cli.identity import details_object  # noqa: PLC0415
    from relay.runtime.cli.processes import is_running  # noqa: PLC0415

    if made is not None and as_json:
        write_json(details_object(made))
    elif sentence:
        typer.echo(sentence)
    if made is not None and made.warning and not as_json:
        note(made.warning)
    if not any(listener.kind == "http" for listener in site.config.listeners):
        note("No `http` listener is configured: add one, or nobody can open the link.")
    if not is_running(site):
        note("The relay is not running; the mail leaves at its next start.")
