"""No borrowed addresses: challenges that end, codes that fit one round, proofs that lapse."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.domain.clients.channels import Proof, ProofState
from aoi_events.domain.clients.proofs import (
    ProofDecision,
    ProofPolicy,
    at_deadline,
    challenge_code,
    challenge_refused,
    confirm,
    open_proof,
    postpone,
)
from aoi_events.domain.retry import Backoff
from aoi_events.errors import ErrorCode, Refusal
from tests.support.strategies import EPOCH, near_misses

KEY = bytes(range(32))
POLICY = ProofPolicy()


def at(days: float) -> datetime:
    """That many days after the first claim."""
    return EPOCH + timedelta(days=days)


def claim(
    known: Proof | None = None, now: datetime = EPOCH, client: str = "a", address: str = "+49151"
) -> tuple[Proof, bool]:
    """The client claims its number."""
    decision = open_proof(
        known,
        client="cli_" + client * 26,
        channel="sms",
        address=address,
        now=now,
        policy=POLICY,
    )
    return decision.proof, decision.send


def proved(now: datetime = EPOCH) -> Proof:
    """A number whose challenge came back."""
    proof, _ = claim(now=now)
    after, right = confirm(proof, challenge_code(KEY, proof), key=KEY, now=now, policy=POLICY)
    assert right
    return after


def test_a_claim_is_challenged_and_proved_for_90_days() -> None:
    """The code that came over the channel proves the address; claiming it again costs nothing."""
    proof = proved()
    assert proof.state is ProofState.PROVED
    assert proof.proved_until == at(90)
    assert claim(proof, at(89)) == (proof, False)
    again, send = claim(proof, at(90))
    assert (again.state, send) == (ProofState.OPEN, True)


def test_a_right_code_stays_right() -> None:
    """A repeated confirmation gets the same answer and changes nothing; spelling is forgiven."""
    proof, _ = claim()
    code = challenge_code(KEY, proof)
    first, right = confirm(proof, code.lower(), key=KEY, now=at(0.001), policy=POLICY)
    assert right
    assert confirm(first, code, key=KEY, now=at(0.002), policy=POLICY) == (first, True)


@pytest.mark.parametrize("renewing", [False, True])
def test_a_proof_that_ended_takes_no_code(renewing: bool) -> None:
    """After its 90 days a proof has expired, also if its deadline was not processed since."""
    proof = proved()
    if renewing:
        proof = at_deadline(proof, now=at(83), policy=POLICY).proof
    code = challenge_code(KEY, proof)
    assert confirm(proof, code, key=KEY, now=at(89), policy=POLICY)[1]
    for days in (90, 91):
        with pytest.raises(Refusal) as refused:
            confirm(proof, code, key=KEY, now=at(days), policy=POLICY)
        assert refused.value.code is ErrorCode.CHALLENGE_EXPIRED


def test_wrong_codes_end_the_challenge() -> None:
    """After a few of them it is closed, also for the right one."""
    proof, _ = claim()
    code = challenge_code(KEY, proof)
    for count in range(1, POLICY.wrong_codes + 1):
        proof, right = confirm(proof, "A" * 16, key=KEY, now=EPOCH, policy=POLICY)
        assert (right, proof.wrong) == (False, count)
    assert proof.state is ProofState.FAILED
    with pytest.raises(Refusal) as refused:
        confirm(proof, code, key=KEY, now=EPOCH, policy=POLICY)
    assert refused.value.code is ErrorCode.CHALLENGE_EXPIRED
    assert code not in str(refused.value)


def test_wrong_codes_do_not_end_a_proof_that_holds() -> None:
    """A proof holds for 90 days; codes that are guessed at its renewal are counted."""
    proof = at_deadline(proved(), now=at(83), policy=POLICY).proof
    for count in range(1, POLICY.wrong_codes + 2):
        proof, right = confirm(proof, "A" * 16, key=KEY, now=at(83), policy=POLICY)
        assert (right, proof.wrong, proof.state) == (False, count, ProofState.PROVED)


def test_codes_are_compared_whole() -> None:
    """A code that differs in a single place, or in its length, is a wrong one and is counted."""
    proof, _ = claim()
    code = challenge_code(KEY, proof)
    for wrong in near_misses(code):
        if wrong.upper() == code:
            continue  # spelling is forgiven
        after, right = confirm(proof, wrong, key=KEY, now=EPOCH, policy=POLICY)
        assert (right, after.wrong, after.state) == (False, 1, ProofState.OPEN)


def test_without_a_challenge_there_is_nothing_to_confirm() -> None:
    """No proof at all is refused like one that ended."""
    with pytest.raises(Refusal) as refused:
        confirm(None, "A" * 16, key=KEY, now=EPOCH, policy=POLICY)
    assert refused.value.code is ErrorCode.CHALLENGE_EXPIRED


def test_codes_differ_by_everything() -> None:
    """Another client, address, round or server key has another code; a repeat has the same."""
    base, _ = claim()
    others = [claim(client="b")[0], claim(address="+49152")[0], claim(now=at(1))[0]]
    codes = {challenge_code(KEY, proof) for proof in [base, *others]}
    codes.add(challenge_code(bytes(32), base))
    assert len(codes) == 5
    assert challenge_code(KEY, base) == challenge_code(KEY, claim()[0])
    assert all(len(code) == 16 and code.isalnum() for code in codes)


def test_an_unanswered_challenge_is_sent_again_and_given_up() -> None:
    """Three times the same code, then the address is not proved."""
    proof, _ = claim()
    code, sent = challenge_code(KEY, proof), 1
    while proof.deadline is not None:
        decision = at_deadline(proof, now=proof.deadline, policy=POLICY)
        sent += decision.send
        proof = decision.proof
        assert challenge_code(KEY, proof) == code
    assert sent == POLICY.sends
    assert (proof.state, decision.lost) == (ProofState.FAILED, True)


def test_a_proof_is_renewed_before_it_ends_or_lapses() -> None:
    """A new challenge goes out a week before; unanswered, the address is lost after 90 days."""
    proof = proved()
    assert proof.deadline == at(83)
    renewal = at_deadline(proof, now=at(83), policy=POLICY)
    assert renewal.send
    assert renewal.proof.state is ProofState.PROVED, "until then it holds"
    assert challenge_code(KEY, renewal.proof) != challenge_code(KEY, proof)
    code = challenge_code(KEY, renewal.proof)
    renewed, right = confirm(renewal.proof, code, key=KEY, now=at(84), policy=POLICY)
    assert right
    assert renewed.proved_until == at(174)

    proof, lost = renewal.proof, False
    while proof.deadline is not None:
        decision = at_deadline(proof, now=proof.deadline, policy=POLICY)
        proof, lost = decision.proof, decision.lost
    assert (proof.state, lost) == (ProofState.FAILED, True)


def test_challenges_that_were_not_taken_use_no_round_up() -> None:
    """Refused for now, the next goes out along the schedule; the round lasts as long as it would,
    and as many as otherwise must have gone out.
    """
    proof, _ = claim()
    sent, now = 0, EPOCH
    for attempt in range(1, 7):
        proof = refuse(proof, attempt, now).proof
        assert proof.deadline is not None
        assert (proof.deadline - now).total_seconds() <= 2**attempt
        now = proof.deadline
        proof = at_deadline(proof, now=now, policy=POLICY).proof
    while proof.deadline is not None:
        sent += 1
        now = proof.deadline
        proof = at_deadline(proof, now=now, policy=POLICY).proof
    assert sent == POLICY.sends
    assert (now - EPOCH).total_seconds() >= POLICY.sends * POLICY.send_again_after


@pytest.mark.parametrize("attempt,ends", [(1, False), (2, True), (3, False)])
def test_only_the_present_challenge_can_be_refused(attempt: int, *, ends: bool) -> None:
    """Late word of a challenge that another one followed, or of one that never went out, changes
    nothing.
    """
    proof, _ = claim()
    assert proof.deadline is not None
    second = at_deadline(proof, now=proof.deadline, policy=POLICY).proof
    assert second.sent == 2
    for permanent in (False, True):
        refused = refuse(second, attempt, at(0.01), permanent=permanent)
        assert (refused.proof != second) == ends


def test_a_challenge_refused_for_good_ends_what_was_only_claimed() -> None:
    """A proof that holds ends only with a bad address; a round that is over takes no refusal."""
    proof, _ = claim()
    assert refuse(proof, 1, EPOCH, permanent=True).lost
    assert refuse(proof, 1, EPOCH, permanent=True).proof.state is ProofState.FAILED
    assert refuse(proof, 2, EPOCH, permanent=True).proof == proof
    renewing = at_deadline(proved(), now=at(83), policy=POLICY).proof
    assert refuse(renewing, 1, at(83), permanent=True).proof == renewing
    assert refuse(renewing, 1, at(83), permanent=True, bad_address=True).lost
    late = refuse(renewing, 1, at(89.999), retry_after=3600)
    assert late.proof.deadline == renewing.proved_until


def refuse(
    proof: Proof,
    attempt: int,
    now: datetime,
    *,
    permanent: bool = False,
    bad_address: bool = False,
    retry_after: float = 0.0,
) -> ProofDecision:
    """The provider did not take a challenge."""
    return challenge_refused(
        proof,
        attempt,
        permanent=permanent,
        bad_address=bad_address,
        retry_after=retry_after,
        now=now,
        jitter=0.5,
        backoff=Backoff(),
    )


HAPPENINGS = ["claim", "right", "wrong", "refused", "look", "wait"]


@given(st.lists(st.sampled_from(HAPPENINGS), max_size=20))
def test_any_history_ends(history: list[str]) -> None:
    """Whatever happens: every open challenge has a deadline in the future, a proof never outlives
    its 90 days, and following the deadlines ends it.
    """
    now = EPOCH
    proof, _ = claim()
    for what in history:
        match what:
            case "claim":
                proof, _ = claim(proof, now)
            case "look" if proof.deadline is not None:
                now = max(now, proof.deadline)
                proof = at_deadline(proof, now=now, policy=POLICY).proof
            case "wait":
                now += timedelta(seconds=30)
            case "refused":
                proof = refuse(proof, proof.sent, now).proof
            case "right" | "wrong" if proof.state is not ProofState.FAILED:
                code = challenge_code(KEY, proof) if what == "right" else "A" * 16
                proof, right = confirm(proof, code, key=KEY, now=now, policy=POLICY)
                assert right == (what == "right")
            case _:
                continue
        assert (proof.deadline is None) == (proof.state is ProofState.FAILED)
        if what == "look" and proof.deadline is not None:
            assert proof.deadline > now
        if proof.proved_until is not None and proof.proved_at is not None:
            assert proof.proved_until - proof.proved_at == timedelta(seconds=POLICY.holds)
    for _ in range(20):
        if proof.deadline is None:
            break
        proof = at_deadline(proof, now=max(now, proof.deadline), policy=POLICY).proof
    assert proof.state is ProofState.FAILED


def test_what_may_not_go_out_waits_or_is_given_up() -> None:
    """Over the limit a challenge is not counted as sent; a claim ends with the time of its round,
    and a proof that holds never for that reason.
    """
    policy = ProofPolicy(sends=3, send_again_after=100)
    claimed, _ = claim()
    early = postpone(claimed, now=EPOCH + timedelta(seconds=299), policy=policy)
    assert (early.proof.sent, early.send, early.lost) == (1, False, False)
    assert early.proof.deadline == EPOCH + timedelta(seconds=399)
    late = postpone(claimed, now=EPOCH + timedelta(seconds=300), policy=policy)
    assert (late.proof.state, late.proof.deadline, late.lost) == (ProofState.FAILED, None, True)
    until = EPOCH + timedelta(seconds=350)
    held = replace(claimed, state=ProofState.PROVED, sent=0, proved_until=until)
    waits = postpone(held, now=EPOCH + timedelta(seconds=300), policy=policy)
    assert (waits.proof, waits.lost) == (replace(held, deadline=until), False)
