"""Who may send what: the identity step of acceptance (AUTHZ-011 to AUTHZ-021, HDR-011, ERR-001, ERR-003, SBX-002).

An account that sends from its own identities, without policies, is decided from the caches of the directory alone,
and so is a user that may send whatever it likes, as new credentials have one. Policies are asked when a message names
an ARN, when they concern one of its senders, or when those of the user say more.
"""

from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial

from relay.mail.compose import NO_CONTROLS, Shaped
from relay.model.account import Account, Identity, Principal
from relay.model.message import Submission
from relay.model.refusal import Refusal
from relay.model.value import dataclass
from relay.policy.arn import IdentityArn, UserArn
from relay.policy.authorization import SMTP_ACTION, SendContext, always_allows
from relay.policy.delegation import NO_ARNS, Authorized, NamedArns, OwnedIdentity, Senders, authorize
from relay.policy.identity import failed_identities, not_verified
from relay.policy.sandbox import unverified_recipients
from relay.policy.shelf import Shelf
from relay.policy.statements import Policy
from relay.ports import Directory


@dataclass(frozen=True, slots=True)
class Caller:
    """Who submits: an account, and the user that a credential belongs to ("": the account itself)."""

    account: Account
    user: str = ""

    @property
    def arn(self) -> str:
        """The ARN of the user, "" for the account itself."""
        return str(UserArn(self.account.account_id, self.user)) if self.user else ""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who a message is sent as.

    `identity` gives its settings and signs; `identity.account` is its owner, the caller or who lets it send. `arn` is
    the identity that the request used, `feedback_address` where reports go ("": nowhere), `owners` the other accounts
    whose identities it rests on, `why` the policies that allowed it, for the log.
    """

    identity: Identity
    arn: str
    feedback_address: str
    owners: tuple[str, ...] = ()
    why: str = ""


@dataclass(slots=True)
class SenderCheck:
    """Asks the directory and the policies."""

    directory: Directory
    _shelf: Shelf = field(default_factory=Shelf)

    def sender(  # noqa: PLR0917 - who, what, to whom, when and where
        self,
        caller: Caller,
        submission: Submission,
        shaped: Shaped,
        recipients: tuple[str, ...],
        now_ms: int,
        region: str,
    ) -> Sender | Refusal:
        """Return who the message is sent as when everybody named as a sender may be used, or why not."""
        self._shelf.begin()
        named, policies = _named(shaped), self._user_policies(caller)
        if not named.any and (not caller.user or always_allows(policies, SMTP_ACTION)):
            known = self._own(caller.account.account_id, submission, shaped, region)
            if known is not None:
                return known
        authorized = authorize(
            named,
            _senders(submission, shaped),
            _context(caller, submission, shaped, recipients, now_ms),
            region=region,
            covering=partial(self._covering if named.any else self._own_covering, region),
            user_policies=policies,
        )
        if isinstance(authorized, Refusal):
            return authorized
        return self._authorized(caller, authorized, str(shaped.author), region)

    def sandbox(
        self,
        account: Account,
        owners: Sequence[str],
        recipients: Sequence[str],
        simulated: Callable[[str], bool],
        region: str,
    ) -> Refusal | None:
        """Refuse recipients that an account in the sandbox may not write to (SBX-002).

        Mail sent for other accounts is bound by the sandbox of all of them (AUTHZ-017); an address that one of them
        has verified may be written to.
        """
        if not account.sandbox and not (owners and any(map(self._in_sandbox, owners))):
            return None
        accounts = (account.account_id, *owners)
        failed = unverified_recipients(recipients, partial(self._verified, accounts), simulated)
        return not_verified(failed, region) if failed else None

    # --- own identities without policies -------------------------------------------------------------------------

    def _own(self, account: str, submission: Submission, shaped: Shaped, region: str) -> Sender | Refusal | None:
        """Decide about the account's own identities, None when policies have a say."""
        author = str(shaped.author)
        identity = self.directory.sending_identity(account, author)
        if identity is None or submission.sender != author or not _plain(shaped):
            senders = _senders(submission, shaped).all
            failed = failed_identities(senders, partial(self._covered, account))
            if failed:
                return not_verified(failed, region)
            if any(self._has_policies(account, address) for address in senders):
                return None
        if identity is None or identity.has_policies:
            return None
        return Sender(identity, str(IdentityArn(region, account, identity.name)), submission.sender)

    def _covered(self, account: str, address: str) -> bool:
        return self.directory.sending_identity(account, address) is not None

    def _has_policies(self, account: str, address: str) -> bool:
        identity = self.directory.sending_identity(account, address)
        return identity is not None and identity.has_policies

    # --- what policies decide ------------------------------------------------------------------------------------

    def _user_policies(self, caller: Caller) -> Sequence[Policy]:
        if not caller.user:
            return ()
        return self._shelf.of_user(self.directory.user_policies(caller.account.account_id, caller.user))

    def _covering(self, region: str, account: str, address: str) -> Sequence[OwnedIdentity]:
        return [
            OwnedIdentity(
                one.identity, self._shelf.of_identity(IdentityArn(region, account, one.identity.name), one.policies)
            )
            for one in self.directory.covering(account, address)
        ]

    def _own_covering(self, region: str, account: str, address: str) -> Sequence[OwnedIdentity]:
        """Return what covers an address where the request names no identity: without policies, one is enough."""
        identity = self.directory.sending_identity(account, address)
        if identity is None:
            return ()
        return self._covering(region, account, address) if identity.has_policies else (OwnedIdentity(identity),)

    def _authorized(self, caller: Caller, authorized: Authorized, author: str, region: str) -> Sender:
        """Return the sender; its settings are those of the owner's most specific identity (IDENT-004)."""
        used = authorized.author
        return Sender(
            self.directory.sending_identity(used.account, author) or used,
            str(IdentityArn(region, used.account, used.name)),
            authorized.feedback_address,
            tuple(sorted(authorized.accounts - {caller.account.account_id})),
            authorized.why,
        )

    # --- the sandbox ---------------------------------------------------------------------------------------------

    def _in_sandbox(self, account_id: str) -> bool:
        account = self.directory.account(account_id)
        return account is None or account.sandbox

    def _verified(self, accounts: Sequence[str], address: str) -> bool:
        return any(self._covered(account, address) for account in accounts)


def caller_of(account: Account, principal: Principal | None) -> Caller:
    """Return the caller; on a trusted listener there is no principal, and the caller is the account itself."""
    return Caller(account, principal.user if principal is not None else "")


def _context(
    caller: Caller, submission: Submission, shaped: Shaped, recipients: tuple[str, ...], now_ms: int
) -> SendContext:
    return SendContext(
        SMTP_ACTION,
        caller.account.account_id,
        user_arn=caller.arn,
        recipients=recipients,
        from_names=tuple(mailbox.name for mailbox in shaped.authors),
        now_ms=now_ms,
        secure_transport=submission.protocol.secure,
        source_ip=submission.source_address,
    )


def _named(shaped: Shaped) -> NamedArns:
    controls = shaped.controls
    if controls is NO_CONTROLS:
        return NO_ARNS
    return NamedArns(controls.source_arn, controls.from_arn, controls.return_path_arn)


def _senders(submission: Submission, shaped: Shaped) -> Senders:
    return Senders(
        tuple(str(mailbox.address) for mailbox in shaped.authors),
        str(shaped.sender.address) if shaped.sender else "",
        submission.sender,
        str(shaped.return_path) if shaped.return_path else "",
    )


def _plain(shaped: Shaped) -> bool:
    """Say whether a single author is all that the header names as a sender."""
    return len(shaped.authors) == 1 and shaped.sender is None and shaped.return_path is None
