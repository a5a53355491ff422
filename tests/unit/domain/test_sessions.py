"""Sessions that gateways announce again: late words change nothing, and repeats write nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aoi_events.domain.clients.client import Client, Presence, connected
from aoi_events.domain.clients.sessions import continued
from aoi_events.errors import ErrorCode, Refusal
from tests.support.strategies import EPOCH

KNOWN = Client(
    id="cli_x", secret_hash="", device="", identity="", registered_at=EPOCH, seen_at=EPOCH
)


def code_of(client: Client | None, present: Presence) -> str:
    """The code with which an announcement is refused."""
    with pytest.raises(Refusal) as refused:
        continued(client, present, EPOCH)
    return refused.value.code


@dataclass
class Store:
    """A client's row, and what its gateways said until now."""

    client: Client = KNOWN
    said: tuple[Presence, ...] = ()

    def begin(self) -> None:
        """A device connects anew, anywhere."""
        number = len(self.said)
        self._say(Presence(f"gw-{number}", f"s{number}"))

    def rename(self) -> None:
        """The gateway of the newest session opens another queue."""
        if self.said:
            self._say(Presence(f"gw-{len(self.said)}", self.said[-1].session))

    def give_up(self) -> None:
        """A delivery comes back from the node, or the device leaves."""
        self.client = replace(self.client, presence=None)

    def _say(self, present: Presence) -> None:
        self.client = connected(self.client, present, EPOCH)
        self.said = (*self.said, present)


STEPS = st.lists(st.sampled_from([Store.begin, Store.rename, Store.give_up]), max_size=8)


@given(STEPS, st.data())
def test_a_late_announcement_never_takes_a_session_back(
    steps: Sequence[Callable[[Store], None]], data: st.DataObject
) -> None:
    """Whatever was said before the last word is refused whenever it is said again, and the last
    word is true once more though the presence was given up meanwhile.
    """
    store = Store()
    store.begin()
    for step in steps:
        step(store)
    late = data.draw(st.sampled_from(store.said))
    if late == store.said[-1]:
        after = continued(store.client, late, EPOCH)
        assert after.presence == late
        assert (after is store.client) == (store.client.presence == late)
        assert continued(after, late, EPOCH) is after
        assert after.epoch == store.client.epoch + (after is not store.client)
    elif late.session == store.said[-1].session:
        assert code_of(store.client, late) == ErrorCode.EXPIRED
    else:
        assert code_of(store.client, late) == ErrorCode.CONFLICT


def test_the_presence_is_restored_under_a_new_epoch() -> None:
    """A delivery that came back later names the epoch before, and ends nothing any more; the
    client may have been stored for meanwhile, so it counts as returned.
    """
    store = Store()
    store.begin()
    store.give_up()
    after = continued(store.client, store.said[-1], EPOCH)
    assert (after.epoch, after.returns) == (2, 2)


def test_a_change_that_its_gateway_no_longer_waits_for_is_refused() -> None:
    """A worker that was suspended changes nothing later; what needs no change is no matter of
    time.
    """
    store = Store()
    store.begin()
    present, late = store.said[-1], EPOCH + timedelta(seconds=1)
    assert continued(store.client, present, late, answer_by=EPOCH) is store.client
    store.give_up()
    with pytest.raises(Refusal) as refused:
        continued(store.client, present, late, answer_by=EPOCH)
    assert refused.value.code == ErrorCode.UNAVAILABLE


def test_a_client_that_never_connected_or_ended_has_no_session() -> None:
    """Nothing is announced for a client that is unknown, retired, or never had a session."""
    present = Presence("gw-1", "s1")
    assert code_of(None, present) == ErrorCode.UNAUTHENTICATED
    assert code_of(KNOWN, present) == ErrorCode.CONFLICT
    retired = replace(connected(KNOWN, present, EPOCH), retired_at=EPOCH)
    assert code_of(retired, present) == ErrorCode.CLIENT_RETIRED
