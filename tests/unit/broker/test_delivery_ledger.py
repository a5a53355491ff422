from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from aoi_events.broker.rabbitmq.delivery_ledger import DeliveryLedger
from aoi_events.broker.rabbitmq.writing import acks, nacks
from aoi_events.ports.broker import Inbound


def filled(number: int, messages: int) -> tuple[DeliveryLedger, list[Inbound]]:
    """The ledger of a channel that delivered so many messages, all of which were taken."""
    ledger = DeliveryLedger(number)
    for delivery_tag in range(1, messages + 1):
        ledger.add(Inbound(b"%d" % delivery_tag, "work", tag=ledger.tag(delivery_tag)))
    return ledger, ledger.take(messages)


def test_messages_are_taken_in_order_up_to_the_limit() -> None:
    """What was taken is not taken again, and stays unsettled."""
    ledger = DeliveryLedger(1)
    for delivery_tag in (1, 2, 3):
        ledger.add(Inbound(b"%d" % delivery_tag, "work", tag=ledger.tag(delivery_tag)))
    assert [message.body for message in ledger.take(2)] == [b"1", b"2"]
    assert (ledger.untaken, ledger.unsettled) == (1, 3)
    assert [message.body for message in ledger.take(9)] == [b"3"]
    assert ledger.take(9) == []


def test_only_what_is_unsettled_is_settled() -> None:
    """Settling twice yields no tags, and tags come in the order of delivery."""
    ledger, messages = filled(7, 4)
    assert ledger.settle([messages[2], messages[0]]) == [1, 3]
    assert ledger.settle([messages[0], messages[3]]) == [4]
    assert (ledger.oldest_unsettled, ledger.unsettled) == (2, 1)
    assert ledger.settle(messages) == [2]
    assert ledger.oldest_unsettled is None


def test_messages_of_another_channel_are_not_settled() -> None:
    """The same delivery tag of an earlier channel changes nothing on this one."""
    _, earlier = filled(1, 3)
    ledger, _ = filled(2, 3)
    assert ledger.settle(earlier) == []
    assert ledger.unsettled == 3


def test_a_settlement_that_was_not_sent_is_restored_in_order() -> None:
    """The tags are unsettled again, oldest first, and can be settled."""
    ledger, messages = filled(1, 4)
    ledger.restore(ledger.settle([messages[0], messages[2]]))
    assert ledger.oldest_unsettled == 1
    assert ledger.settle(messages) == [1, 2, 3, 4]


@given(st.lists(st.lists(st.integers(0, 19), max_size=8), max_size=12))
def test_frames_acknowledge_exactly_what_is_settled(batches: Sequence[Sequence[int]]) -> None:
    """An ack of many takes no message that is unsettled: read as RabbitMQ reads them, the frames
    settle the messages of the batch and no other.
    """
    ledger, messages = filled(3, 20)
    at_the_broker = set(range(1, 21))
    for batch in batches:
        tags = ledger.settle([messages[index] for index in batch])
        if not tags:
            continue
        settled: set[int] = set()
        for frame in acks(tags, ledger.oldest_unsettled):
            tag, multiple = frame.delivery_tag, frame.multiple
            taken = {each for each in at_the_broker if each == tag or (multiple and each < tag)}
            assert taken, "RabbitMQ closes the channel for an unknown tag"
            settled |= taken
            at_the_broker -= taken
        assert settled == set(tags)


def test_messages_are_given_back_one_by_one() -> None:
    """Each frame requeues one message."""
    frames = nacks([2, 5])
    assert [(f.delivery_tag, f.requeue, f.multiple) for f in frames] == [
        (2, True, False),
        (5, True, False),
    ]
