"""Custom verification mails of accounts (IDENT-024): at most 50 each, checked whole before anything is stored."""

import re
from dataclasses import replace
from typing import Any

from relay.errors import RequestRefusedError, UsageError
from relay.mail.address import BadAddress, parse_mailbox
from relay.mail.custom_verification import check_content
from relay.model.account import IdentityKind
from relay.model.verification import VerificationTemplate
from relay.policy.identity import covering_addresses, covering_domains, split_address
from relay.policy.weburl import parse_web_url
from relay.store.catalog_tables import Tables

TEMPLATES_MAX = 50
SUBJECT_MAX_CHARS = 998

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class VerificationTemplates:
    """Keeps custom verification mails. Faults raise RequestRefusedError or UsageError, and nothing is stored."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create(self, account: str, template: VerificationTemplate) -> VerificationTemplate:
        """Add a template."""
        self._tables.require_account(account)
        if not _NAME.match(template.name):
            raise UsageError(f"A template's name has 1 to 64 letters, digits, - and _, not {template.name[:80]!r}.")
        self._check(account, template)
        with self._tables.writing(account):
            row = self._tables.row("count_templates", {"account": account})
            if self._tables.row("get_template", {"account": account, "name": template.name}) is not None:
                raise RequestRefusedError(
                    "AlreadyExistsException", f"Account {account} has a template {template.name} already."
                )
            if row is not None and row[0] >= TEMPLATES_MAX:
                raise RequestRefusedError(
                    "LimitExceededException", f"An account has at most {TEMPLATES_MAX} verification templates."
                )
            self._tables.run("create_template", self._values(account, template))
        return self.require(account, template.name)

    def update(self, account: str, name: str, **changes: Any) -> VerificationTemplate:
        """Change the given fields of a template (names of `VerificationTemplate`), the others stay."""
        changed = replace(self.require(account, name), **changes)
        self._check(account, changed)
        with self._tables.writing(account):
            if not self._tables.run("update_template", self._values(account, changed)):
                raise _unknown(account, name)
        return self.require(account, name)

    def list(self, account: str) -> list[VerificationTemplate]:
        """Return the templates of an account by name, without their content."""
        self._tables.require_account(account)
        return [VerificationTemplate(*row) for row in self._tables.rows("list_templates", {"account": account})]

    def require(self, account: str, name: str) -> VerificationTemplate:
        """Return a template that must exist."""
        row = self._tables.row("get_template", {"account": account, "name": name})
        if row is None:
            raise _unknown(account, name)
        return VerificationTemplate(*row)

    def ready_to_send(self, account: str, name: str) -> VerificationTemplate:
        """Return a template whose author is still verified."""
        template = self.require(account, name)
        self.require_sender(account, template.from_address)
        return template

    def require_sender(self, account: str, address: str) -> None:
        """Refuse an address that no verified identity of the account covers."""
        parts = split_address(address)
        names = {
            IdentityKind.ADDRESS: covering_addresses(address),
            IdentityKind.DOMAIN: covering_domains(parts[1]) if parts else (),
        }
        for kind, wanted in names.items():
            values = {"account": account, "kind": str(kind)}
            if any(self._tables.row("covering_identity", {**values, "name": name}) for name in wanted):
                return
        raise RequestRefusedError(
            "FromEmailAddressNotVerified", f"{address} is not verified for account {account}; verify it first."
        )

    def delete(self, account: str, name: str) -> None:
        """Remove a template; links that were mailed with it go on working."""
        with self._tables.writing(account):
            if not self._tables.run("delete_template", {"account": account, "name": name}):
                raise _unknown(account, name)

    def _check(self, account: str, template: VerificationTemplate) -> None:
        parsed = parse_mailbox(template.from_address)
        if isinstance(parsed, BadAddress):
            raise UsageError(
                f"{template.from_address[:80]!r} is not a plain email address ({parsed.text}); a display name is not "
                "possible here."
            )
        self.require_sender(account, template.from_address)
        subject = template.subject
        if not subject.strip() or len(subject) > SUBJECT_MAX_CHARS or not subject.isprintable():
            raise UsageError(f"A subject is one line of 1 to {SUBJECT_MAX_CHARS} printable characters.")
        for what, url in (("success", template.success_url), ("failure", template.failure_url)):
            try:
                parse_web_url(url)
            except ValueError as error:
                raise UsageError(f"The {what} redirection URL {error}.") from None
        check_content(template.content)

    def _values(self, account: str, template: VerificationTemplate) -> dict[str, object]:
        return {
            "account": account,
            "name": template.name,
            "from_address": template.from_address,
            "subject": template.subject,
            "content": template.content,
            "success_url": template.success_url,
            "failure_url": template.failure_url,
            "now_ms": self._tables.now_ms(),
        }


def _unknown(account: str, name: str) -> RequestRefusedError:
    return RequestRefusedError("NotFoundException", f"Account {account} has no verification template {name[:80]}.")
