"""What a batch writes of its rows: the last word about each of them, and once."""

from __future__ import annotations

from aoi_events.domain.clients.channels import Channel
from aoi_events.services.clients.unit_of_work import Rows
from tests.support.rows import a_channel, client_id

CLIENT = client_id(1)
SMS = a_channel(1, "sms")


def rows() -> Rows[Channel, str]:
    """The channel that stands in the store."""
    known: Rows[Channel, str] = Rows(lambda channel: channel.type)
    known.add([SMS])
    return known


def test_a_row_that_is_dropped_and_saved_again_is_written() -> None:
    """The store drops before it inserts: a row that came back must not be among those to drop."""
    known = rows()
    known.drop(CLIENT, ["sms"])
    known.save([SMS])
    assert (set(known.dropped), known.take_changed()) == (set(), [SMS])
    assert known.of(CLIENT) == [SMS]


def test_a_row_that_is_saved_and_dropped_is_not_written() -> None:
    """An insert after the drop would bring it back."""
    known = rows()
    known.save([SMS])
    known.drop(CLIENT, ["sms"])
    assert (set(known.dropped), known.take_changed()) == ({(CLIENT, "sms")}, [])
    assert known.get(CLIENT, "sms") is None


def test_a_row_is_written_once() -> None:
    """A batch that writes twice does not write again what stands there already."""
    known = rows()
    known.save([SMS])
    assert known.take_changed() == [SMS]
    assert known.take_changed() == []
