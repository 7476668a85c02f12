"""Applications, admissions, invites and role changes: their bytes and signatures (docs/protocol.md, section 5).

Decides whether one is well formed and truly signed; whether the state allows it is decided by `ledger.judge`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.identity import Key, account_id, h20, signed_digest
from leither_lite.ledger.records import Role
from leither_lite.ledger.signed import Status, check, signature_field, signed_content
from leither_lite.limits import ID_BYTES, KEY_BYTES, MEMO_BYTES_MAX, UINT_MAX
from leither_lite.tree.node import pack_node


@dataclass(frozen=True, slots=True)
class Application:
    """[applicant's key, memo], signed by the applicant, tag "apply": it asks for an account."""

    content: bytes
    signature: bytes
    applicant_key: bytes
    memo: str

    @classmethod
    def make(cls, network: bytes, applicant: Key, memo: str) -> Application:
        """Signs an application."""
        content = encode([applicant.public, memo])
        return cls(content, applicant.sign(signed_digest("apply", network, content)), applicant.public, memo)

    @classmethod
    def from_values(cls, content: Value, signature: Value) -> Application:
        """Raises RemoteError("bad_operation"), or a reason of the codec."""
        content = signed_content(content)
        key, memo = codec.fields(codec.decode(content), 2, "bad_operation")
        return cls(
            content,
            signature_field(signature),
            codec.octets(key, KEY_BYTES, "bad_operation"),
            codec.text(memo, MEMO_BYTES_MAX, "bad_operation"),
        )

    @property
    def account(self) -> bytes:
        """The id that the applicant's account will have."""
        return account_id(self.applicant_key)

    def digest(self, network: bytes) -> bytes:
        """What the applicant has signed: 32 bytes."""
        return signed_digest("apply", network, self.content)

    def check_signature(self, network: bytes) -> Status:
        """OK or BAD_SIGNATURE."""
        return check("apply", network, self.applicant_key, self.signature, self.content)


@dataclass(frozen=True, slots=True)
class Admission:
    """A join by application, confirmed by a supervisor: [supervisor's key, applicant's id, role], tag "grant"."""

    CODE: ClassVar[int] = 3
    application: Application
    content: bytes
    signature: bytes
    supervisor_key: bytes
    account: bytes
    role: int

    @classmethod
    def make(cls, network: bytes, supervisor: Key, application: Application, role: int) -> Admission:
        """Signs the confirmation of an application."""
        account = application.account
        content = encode([supervisor.public, account, int(role)])
        signature = supervisor.sign(signed_digest("grant", network, content))
        return cls(application, content, signature, supervisor.public, account, role)

    @classmethod
    def from_values(cls, values: list[Value]) -> Admission:
        """Raises RemoteError("bad_operation"), or a reason of the codec."""
        _, application, applied, content, signature = codec.fields(values, 5, "bad_operation")
        content = signed_content(content)
        key, account, role = codec.fields(codec.decode(content), 3, "bad_operation")
        admission = cls(
            Application.from_values(application, applied),
            content,
            signature_field(signature),
            codec.octets(key, KEY_BYTES, "bad_operation"),
            codec.octets(account, ID_BYTES, "bad_operation"),
            codec.uint(role, Role.SUPERVISOR, "bad_operation"),
        )
        if admission.account != admission.application.account:
            raise RemoteError("bad_operation", "the confirmation names another account than the application")
        return admission

    def encode(self) -> bytes:
        """CBOR [3, application, signature, grant, signature]."""
        application = self.application
        return encode([self.CODE, application.content, application.signature, self.content, self.signature])

    def check_signatures(self, network: bytes) -> Status:
        """OK or BAD_SIGNATURE."""
        status = self.application.check_signature(network)
        if status is not Status.OK:
            return status
        return check("grant", network, self.supervisor_key, self.signature, self.content)


@dataclass(frozen=True, slots=True)
class Invite:
    """[supervisor's key, invite's key, role, valid until tick], signed by the supervisor, tag "invite".

    The invite's secret key travels with it to the guest and signs the guest's application, so that nobody who only
    sees the operation on its way can use the invite for another account.
    """

    content: bytes
    signature: bytes
    supervisor_key: bytes
    invite_key: bytes
    role: int
    valid_until: int

    @classmethod
    def make(cls, network: bytes, supervisor: Key, invite_key: bytes, role: int, valid_until: int) -> Invite:
        """Signs an invite for the holder of the secret half of `invite_key`."""
        content = encode([supervisor.public, invite_key, int(role), valid_until])
        signature = supervisor.sign(signed_digest("invite", network, content))
        return cls(content, signature, supervisor.public, invite_key, role, valid_until)

    @classmethod
    def from_values(cls, content: Value, signature: Value) -> Invite:
        """Raises RemoteError("bad_operation"), or a reason of the codec."""
        content = signed_content(content)
        key, invite_key, role, valid_until = codec.fields(codec.decode(content), 4, "bad_operation")
        return cls(
            content,
            signature_field(signature),
            codec.octets(key, KEY_BYTES, "bad_operation"),
            codec.octets(invite_key, KEY_BYTES, "bad_operation"),
            codec.uint(role, Role.MEMBER, "bad_operation"),
            codec.uint(valid_until, UINT_MAX, "bad_operation"),
        )

    def check_signature(self, network: bytes) -> Status:
        """OK or BAD_SIGNATURE."""
        return check("invite", network, self.supervisor_key, self.signature, self.content)


def invite_item(content: bytes) -> bytes:
    """The id of a used invite in its set: H20("leither.invite", CBOR item)."""
    return h20("invite", encode(content))


def invite_leaf(pulse: int, item: bytes) -> bytes:
    """The leaf of a used invite: u64 pulse || u64 amount (0) || id."""
    return pack_node(pulse, 0, item)


@dataclass(frozen=True, slots=True)
class InvitedJoin:
    """A join by invite: application, invite, and the application signed once more by the invite's own key."""

    CODE: ClassVar[int] = 4
    application: Application
    invite: Invite
    proof: bytes

    @classmethod
    def make(cls, network: bytes, application: Application, invite: Invite, invite_secret: Key) -> InvitedJoin:
        """Uses an invite for an application."""
        proof = invite_secret.sign(signed_digest("apply", network, application.content))
        return cls(application, invite, proof)

    @classmethod
    def from_values(cls, values: list[Value]) -> InvitedJoin:
        """Raises RemoteError("bad_operation"), or a reason of the codec."""
        _, application, applied, invite, invited, proof = codec.fields(values, 6, "bad_operation")
        return cls(
            Application.from_values(application, applied), Invite.from_values(invite, invited), signature_field(proof)
        )

    def encode(self) -> bytes:
        """CBOR [4, application, signature, invite, signature, signature by the invite's key]."""
        application, invite = self.application, self.invite
        return encode(
            [self.CODE, application.content, application.signature, invite.content, invite.signature, self.proof]
        )

    def check_signatures(self, network: bytes) -> Status:
        """OK or BAD_SIGNATURE."""
        for status in (self.application.check_signature(network), self.invite.check_signature(network)):
            if status is not Status.OK:
                return status
        return check("apply", network, self.invite.invite_key, self.proof, self.application.content)


@dataclass(frozen=True, slots=True)
class RoleChange:
    """[supervisor's key, account's id, role, number], tag "role"; `number` counts the group's role changes."""

    CODE: ClassVar[int] = 5
    content: bytes
    signature: bytes
    supervisor_key: bytes
    account: bytes
    role: int
    number: int

    @classmethod
    def make(cls, network: bytes, supervisor: Key, account: bytes, role: int, number: int) -> RoleChange:
        """Signs a change of an account's role."""
        content = encode([supervisor.public, account, int(role), number])
        signature = supervisor.sign(signed_digest("role", network, content))
        return cls(content, signature, supervisor.public, account, role, number)

    @classmethod
    def from_values(cls, values: list[Value]) -> RoleChange:
        """Raises RemoteError("bad_operation"), or a reason of the codec."""
        _, content, signature = codec.fields(values, 3, "bad_operation")
        content = signed_content(content)
        key, account, role, number = codec.fields(codec.decode(content), 4, "bad_operation")
        return cls(
            content,
            signature_field(signature),
            codec.octets(key, KEY_BYTES, "bad_operation"),
            codec.octets(account, ID_BYTES, "bad_operation"),
            codec.uint(role, Role.SUPERVISOR, "bad_operation"),
            codec.uint(number, UINT_MAX, "bad_operation"),
        )

    def encode(self) -> bytes:
        """CBOR [5, role change, signature]."""
        return encode([self.CODE, self.content, self.signature])

    def check_signatures(self, network: bytes) -> Status:
        """OK or BAD_SIGNATURE."""
        return check("role", network, self.supervisor_key, self.signature, self.content)
