"""Proofs of addresses: a channel with a claimed address needs a proof before it is used.

A challenge goes out over the channel itself and comes back in ``channel.confirm``. Its code follows
from a server key and the proof, so nothing secret is stored and a repeat sends the same code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aoi_events.domain.clients.channels import Proof, ProofState
from aoi_events.domain.retry import Backoff
from aoi_events.errors import ErrorCode, Refusal


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """How long proofs are valid and challenges are open (seconds).

    A round of ``sends`` challenges without an answer takes ``sends * send_again_after``; challenges
    that the provider refused are repeated within that time.
    """

    holds: float = 90 * 86_400
    renew_before: float = 7 * 86_400
    send_again_after: float = 120
    sends: int = 3
    wrong_codes: int = 5
    per_address_an_hour: int = 5
    per_client_an_hour: int = 10
    overall_an_hour: int = 10_000


@dataclass(frozen=True, slots=True)
class ProofDecision:
    """The proof after a fact, and what must be done.

    ``send``: a challenge must be sent; ``lost``: the address is not proved any more.
    """

    proof: Proof
    send: bool = False
    lost: bool = False


def challenge_code(key: bytes, proof: Proof) -> str:
    """The code of the proof's present round: 80 bits in 16 letters and digits, easy to type."""
    opened = int(proof.opened_at.timestamp() * 1_000_000)
    text = f"{proof.client}\0{proof.channel}\0{proof.address}\0{opened}"
    digest = hmac.digest(key, b"aoi challenge v1\0" + text.encode(), hashlib.sha256)
    return base64.b32encode(digest[:10]).decode()


def open_proof(
    known: Proof | None,
    *,
    client: str,
    channel: str,
    address: str,
    now: datetime,
    policy: ProofPolicy,
) -> ProofDecision:
    """Decide on a client's claim of an address: a valid proof, or an open challenge, stays as it
    is.
    """
    if known is not None and known.state is ProofState.PROVED:
        if not _lapsed(known, now):
            return ProofDecision(known)
    elif known is not None and known.state is ProofState.OPEN:
        return ProofDecision(known)
    proof = Proof(
        client=client,
        channel=channel,
        address=address,
        state=ProofState.OPEN,
        sent=1,
        wrong=0,
        opened_at=now,
        deadline=now + timedelta(seconds=policy.send_again_after),
    )
    return ProofDecision(proof, send=True)


def at_deadline(proof: Proof, *, now: datetime, policy: ProofPolicy) -> ProofDecision:
    """Decide at the proof's deadline: send the challenge (again), give up, or let the
    proof expire.
    """
    again = now + timedelta(seconds=policy.send_again_after)
    match proof.state:
        case ProofState.FAILED:
            return ProofDecision(replace(proof, deadline=None))
        case ProofState.OPEN:
            if not _over(proof, now, policy):
                return ProofDecision(replace(proof, sent=proof.sent + 1, deadline=again), send=True)
            return ProofDecision(proof.failed(), lost=True)
        case ProofState.PROVED:
            until = proof.proved_until or now
            if _lapsed(proof, now):
                return ProofDecision(proof.failed(), lost=True)
            if _over(proof, now, policy):
                return ProofDecision(replace(proof, deadline=until))
            opened = now if proof.sent == 0 else proof.opened_at
            renewed = replace(
                proof, sent=proof.sent + 1, wrong=0, opened_at=opened, deadline=min(again, until)
            )
            return ProofDecision(renewed, send=True)


def postpone(proof: Proof, *, now: datetime, policy: ProofPolicy) -> ProofDecision:
    """Decide on a challenge that is due and exceeds a limit: it waits for its next turn.

    An address that is only claimed is given up when the time of its round is over.
    """
    if proof.state is ProofState.OPEN and now >= _round_ends(proof, policy):
        return ProofDecision(proof.failed(), lost=True)
    return _postponed(proof, now + timedelta(seconds=policy.send_again_after))


def challenge_refused(
    proof: Proof,
    attempt: int,
    *,
    permanent: bool,
    bad_address: bool,
    retry_after: float,
    now: datetime,
    jitter: float,
    backoff: Backoff,
) -> ProofDecision:
    """Decide after the provider refused challenge number ``attempt`` of the proof's present round.

    For good: an address that is only claimed is given up, and a bad one in any case. For now: the
    next challenge goes out along the retry schedule, and not before ``retry_after`` seconds.
    """
    if proof.state is ProofState.FAILED or attempt != proof.sent:
        return ProofDecision(proof)
    if permanent:
        if proof.state is ProofState.PROVED and not bad_address:
            return ProofDecision(proof)
        return ProofDecision(proof.failed(), lost=True)
    delay = max(retry_after, backoff.delay(attempt - 1, jitter))
    return _postponed(proof, now + timedelta(seconds=delay))


def _postponed(proof: Proof, until: datetime) -> ProofDecision:
    """The proof, due again then, or when it expires if that is earlier."""
    if proof.state is ProofState.PROVED and proof.proved_until is not None:
        until = min(until, proof.proved_until)
    return ProofDecision(replace(proof, deadline=until))


def confirm(
    proof: Proof | None, code: str, *, key: bytes, now: datetime, policy: ProofPolicy
) -> tuple[Proof, bool]:
    """The proof after the device sent ``code`` back, and whether it is proved (a wrong code is
    counted).

    Raises Refusal (challenge_expired) when no challenge is open. A code that was right before is
    right again, so that a repeat gets the same answer, for as long as the proof is valid; after
    that it has expired, whether or not its deadline was processed.
    """
    if proof is None or proof.state is ProofState.FAILED or _lapsed(proof, now):
        raise Refusal(
            ErrorCode.CHALLENGE_EXPIRED,
            "no challenge is open for this channel; activate the channel again to get a new one",
            field="channel",
        )
    if not hmac.compare_digest(challenge_code(key, proof), code.upper()):
        wrong = proof.wrong + 1
        if proof.state is ProofState.OPEN and wrong >= policy.wrong_codes:
            return replace(proof, wrong=wrong).failed(), False
        return replace(proof, wrong=wrong), False
    if proof.state is ProofState.PROVED and proof.sent == 0:
        return proof, True
    until = now + timedelta(seconds=policy.holds)
    return (
        replace(
            proof,
            state=ProofState.PROVED,
            sent=0,
            wrong=0,
            proved_at=now,
            proved_until=until,
            deadline=until - timedelta(seconds=policy.renew_before),
        ),
        True,
    )


def _lapsed(proof: Proof, now: datetime) -> bool:
    """Whether the proof of an address has expired."""
    proved = proof.state is ProofState.PROVED
    return proved and (proof.proved_until is None or now >= proof.proved_until)


def _over(proof: Proof, now: datetime, policy: ProofPolicy) -> bool:
    """Whether the present round is over: all its challenges were sent, and their time
    has passed.
    """
    return proof.sent >= policy.sends and now >= _round_ends(proof, policy)


def _round_ends(proof: Proof, policy: ProofPolicy) -> datetime:
    return proof.opened_at + timedelta(seconds=policy.sends * policy.send_again_after)
