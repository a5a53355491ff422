"""Plans compared: the same notifications for each, and numbers that come again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aoi_events.errors import ConfigurationError
from tests.benchmarks.channels.comparing import WAYS, Cell, compare
from tests.benchmarks.channels.plot import draw
from tests.benchmarks.channels.world import World

FIRST, FALLBACK, HEDGED, PARALLEL = (way.name for way in WAYS)


def cells(**changes: Any) -> dict[tuple[str, float], Cell]:
    """A small comparison."""
    options = {
        "notifications": 300,
        "shares": (0.0, 0.2, 0.5),
        "seed": 1,
        "hedge_after": 2.0,
        "ttl": 300.0,
        **changes,
    }
    world = options.pop("world", World())
    return {(cell.way, cell.failing): cell for cell in compare(world, **options)}


def test_another_channel_is_worth_it() -> None:
    """With every second connection dead the second channel delivers nearly all, the first alone
    does not; a hedge is faster than fallback at the same cost, and parallel pays for every one.
    """
    found = cells()
    first, fallback, hedged, parallel = (found[way.name, 0.5] for way in WAYS)
    assert first.delivered < 0.9 < 0.98 < fallback.delivered
    assert hedged.delivered == parallel.delivered == fallback.delivered
    assert [first.p99, fallback.p99, hedged.p99] == sorted(
        [each.p99 or 0.0 for each in (first, fallback, hedged)], reverse=True
    )
    assert hedged.cost == fallback.cost < parallel.cost == 1.0
    assert (first.cost, first.sent >= 1.0, parallel.sent) == (0.0, True, 2.0)


def test_nothing_fails_where_nothing_is_dead() -> None:
    """Without dead connections all plans deliver everything at once."""
    found = cells()
    assert {found[way.name, 0.0].delivered for way in WAYS} == {1.0}
    assert {found[way, 0.0].p99 for way in (FIRST, FALLBACK, HEDGED)} == {found[FIRST, 0.0].p99}


def test_a_seed_gives_the_same_numbers_and_another_one_others() -> None:
    """The comparison can be repeated."""
    assert cells() == cells()
    assert cells() != cells(seed=2)


def test_a_share_does_not_depend_on_the_others() -> None:
    """What is known at half of the connections dead is the same, whatever else is asked for."""
    assert cells(shares=(0.5,))[HEDGED, 0.5] == cells()[HEDGED, 0.5]


def test_what_never_arrived_and_was_reported_is_told() -> None:
    """Where every short message is lost, what the SMSC took counts as overstated."""
    found = cells(world=World(sms_lost=1.0), shares=(1.0,))
    assert found[FALLBACK, 1.0].overstated > 0.2
    assert found[FIRST, 1.0].overstated == 0.0


def test_nothing_delivered_has_no_times() -> None:
    """Percentiles of nothing are unknown, not zero."""
    cell = cells(world=World(away=1e9), shares=(1.0,), ttl=5.0)[FIRST, 1.0]
    assert (cell.delivered, cell.p50, cell.p95, cell.p99) == (0.0, None, None, None)


def test_the_plot_is_the_same_for_the_same_numbers(tmp_path: Path) -> None:
    """An SVG with every plan in it, byte for byte the same when drawn again."""
    drawn = list(cells().values())
    for name in ("one.svg", "two.svg"):
        draw(drawn, tmp_path / name, title="a title")
    one, two = ((tmp_path / name).read_text() for name in ("one.svg", "two.svg"))
    assert one == two
    assert "<svg" in one


def test_a_plot_that_cannot_be_is_told(tmp_path: Path) -> None:
    """A folder that is not there, a kind of picture that there is none of."""
    drawn = list(cells(notifications=2).values())
    for file in (tmp_path / "no" / "plot.svg", tmp_path / "plot.docx"):
        with pytest.raises(ConfigurationError, match=r"no picture at .*plot\."):
            draw(drawn, file, title="a title")
