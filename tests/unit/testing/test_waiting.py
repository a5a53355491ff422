"""``wait_for``: by signals, each event once, and failures that tell a lot."""

from __future__ import annotations

import asyncio

import pytest

from aoi_events.client.core.events import Connected, Disconnected
from aoi_events.contracts.answers import DeliveryStatus, Hop
from aoi_events.contracts.events import ClientChanged, CloudEvent
from aoi_events.contracts.states import DeliveryState
from aoi_events.testing.diary import Diary, DidNotHappen
from aoi_events.testing.waiting import WaitFor
from tests.support.instant import INSTANT as NOW

CLIENT = "cli_" + "a" * 26
CONNECTED = Connected(client=CLIENT, session="s1", epoch=1)


def registered(client: str = CLIENT) -> CloudEvent:
    """An event of the server."""
    data = ClientChanged(client=client)
    return CloudEvent(id="1", type="aoi.client.registered.v1", time=NOW, data=data)


def story(state: DeliveryState, *whats: str) -> DeliveryStatus:
    """A delivery with these hops."""
    return DeliveryStatus(
        delivery="dlv_" + "a" * 26,
        fingerprint="fp_" + "a" * 13,
        state=state,
        accepted_at=NOW,
        expires_at=NOW,
        story=tuple(Hop(at=NOW, what=what, channel="sms") for what in whats),
    )


class Known:
    """What a server knows of the one notification."""

    def __init__(self) -> None:
        self.deliveries: list[DeliveryStatus] = []

    async def __call__(self, notification: str) -> list[DeliveryStatus]:
        """Its deliveries."""
        assert notification == "n1"
        return self.deliveries


@pytest.fixture
def diary() -> Diary:
    """Nothing happened yet."""
    return Diary()


@pytest.fixture
def known() -> Known:
    """The server knows nothing yet."""
    return Known()


@pytest.fixture
def wait_for(diary: Diary, known: Known) -> WaitFor:
    """Waits for what that diary holds."""
    return WaitFor(diary, known)


async def test_what_happened_before_counts(wait_for: WaitFor, diary: Diary) -> None:
    """An event that came before the wait is found: there is no race to lose."""
    event = registered()
    diary.note("AOI Server", event)
    assert await wait_for("client.registered") is event


async def test_each_event_once(wait_for: WaitFor, diary: Diary) -> None:
    """The second wait gets the second event."""
    first, second = registered(), registered()
    diary.note("AOI Server", first)
    assert await wait_for("client.registered") is first
    waiting = asyncio.ensure_future(wait_for("client.registered"))
    await asyncio.sleep(0)
    assert not waiting.done()
    diary.note("AOI Server", second)
    assert await waiting is second


async def test_fields_tell_events_apart(wait_for: WaitFor, diary: Diary) -> None:
    """Of several events the one with these fields is returned, and of that device."""
    other = "cli_" + "b" * 26
    diary.note("AOI Server", registered(other))
    diary.note("tablet", CONNECTED)
    with pytest.raises(DidNotHappen):
        await wait_for("client.registered", client=CLIENT, within=0.01)
    with pytest.raises(DidNotHappen):
        await wait_for(Connected, device="phone", within=0.01)
    assert (await wait_for("client.registered", client=other)).data.about == "client"
    assert await wait_for(Connected, device="tablet", epoch=1) is CONNECTED


async def test_a_failure_tells_what_was_seen(wait_for: WaitFor, diary: Diary) -> None:
    """In order, with when, who and what; of many the last ones."""
    with pytest.raises(DidNotHappen, match=r"within 0\.01 s; nothing happened at all"):
        await wait_for("client.deregistered", within=0.01)
    for _ in range(30):
        diary.note("phone", CONNECTED)
    diary.note("AOI Server", registered())
    with pytest.raises(DidNotHappen) as failure:
        await wait_for("client.deregistered", client="x", within=0.01)
    text = str(failure.value)
    assert text.startswith(
        "client.deregistered client=x did not happen within 0.01 s; seen instead"
    )
    assert "(after 6 earlier ones)" in text
    assert text.count("Connected client=") == 24
    assert text.endswith(f"client.registered client={CLIENT}")


async def test_conditions(wait_for: WaitFor, diary: Diary) -> None:
    """A condition is asked at every event, and its first true value returned."""
    assert await wait_for(lambda: 5) == 5
    seen: list[str] = []
    waiting = asyncio.ensure_future(wait_for(lambda: seen))
    await asyncio.sleep(0)
    seen.append("it")
    diary.touch()
    assert await waiting == ["it"]

    async def coming() -> str:
        return "a coroutine's"

    assert await wait_for(coming) == "a coroutine's"


async def test_a_condition_of_your_own_code(wait_for: WaitFor) -> None:
    """What changes without any event of ours is noticed all the same."""
    box: list[int] = []
    asyncio.get_running_loop().call_later(0.02, box.append, 1)
    assert await wait_for(lambda: bool(box), within=5)


async def test_a_condition_that_fails_shows_itself(wait_for: WaitFor) -> None:
    """The failure has the condition's source and its last value."""
    count = 3
    with pytest.raises(DidNotHappen, match=r"count > 4.* was False for 0.01 s"):
        await wait_for(lambda: count > 4, within=0.01)


async def test_a_condition_that_raises(wait_for: WaitFor) -> None:
    """Its error is the test's, at once: also a TimeoutError of its own."""

    def broken() -> bool:
        raise TimeoutError("my own")

    with pytest.raises(TimeoutError, match="my own"):
        await wait_for(broken)


async def test_awaitables(wait_for: WaitFor) -> None:
    """Anything awaitable gets a deadline."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    queue.put_nowait(7)
    assert await wait_for(queue.get()) == 7
    with pytest.raises(DidNotHappen, match=r"Queue.get took longer than 0.01 s"):
        await wait_for(queue.get(), within=0.01)


async def test_states(wait_for: WaitFor, diary: Diary, known: Known) -> None:
    """A state is reached when every delivery is in it; no delivery at all is no state."""
    with pytest.raises(DidNotHappen, match="the server knows no delivery of it"):
        await wait_for.state("n1", "terminal", within=0.01)
    known.deliveries = [story(DeliveryState.DELIVERED), story(DeliveryState.SENDING, "refused")]
    with pytest.raises(DidNotHappen) as failure:
        await wait_for.state("n1", "delivered", within=0.01)
    text = str(failure.value)
    assert "'n1' did not be delivered within 0.01 s" not in text
    assert "'n1' was not delivered within 0.01 s; its deliveries:" in text
    assert "is sending\n       0.000 s  refused  sms" in text
    known.deliveries = [story(DeliveryState.DELIVERED), story(DeliveryState.EXPIRED)]
    assert len(await wait_for.state("n1", "terminal")) == 2
    with pytest.raises(ValueError, match="sleeping"):
        await wait_for.state("n1", "sleeping")


async def test_hops(wait_for: WaitFor, known: Known) -> None:
    """The last hop of that name, of any delivery."""
    known.deliveries = [story(DeliveryState.SENDING, "sent", "refused", "sent")]
    assert (await wait_for.hop("n1", "refused")).what == "refused"
    with pytest.raises(DidNotHappen, match="no hop 'acknowledged'"):
        await wait_for.hop("n1", "acknowledged", within=0.01)


async def test_the_end_of_the_server_ends_every_wait(wait_for: WaitFor, diary: Diary) -> None:
    """Nobody waits for what cannot come any more; the reason is told."""
    waits = [
        asyncio.ensure_future(wait_for(Disconnected, within=60)),
        asyncio.ensure_future(wait_for(lambda: False, within=60)),
        asyncio.ensure_future(wait_for.state("n1", "delivered", within=60)),
    ]
    await asyncio.sleep(0)
    diary.fail(RuntimeError("a bug"))
    for wait in waits:
        with pytest.raises(DidNotHappen, match=r"the AOI Server ended \(RuntimeError: a bug\)"):
            await wait


@pytest.mark.parametrize(
    "what, fields, told",
    [
        ("client.registred", {}, "there is no event 'client.registred'; there are client.reg"),
        ("client.registered", {"colour": 1}, "has no colour; it has client, replaced_by"),
        ("notification.accepted", {"state": "x"}, "has no state; it has accepted"),
        (Connected, {"colour": 1}, "Connected has no colour; it has client, device, epoch"),
        (lambda: True, {"colour": 1}, "only events are selected by fields"),
        (5, {}, "wait for an event, a condition or an awaitable; not for 5"),
    ],
)
async def test_mistakes_are_told_at_once(
    wait_for: WaitFor, what: object, fields: dict[str, object], told: str
) -> None:
    """A typing error is no reason to wait."""
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        await wait_for(what, **fields)  # type: ignore[call-overload]
