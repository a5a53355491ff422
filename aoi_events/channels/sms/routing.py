"""Choice of the SMSCs for a telephone number. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from aoi_events.channels.sms.settings import SmscSettings


def routes(number: str, smscs: Mapping[str, SmscSettings]) -> list[str]:
    """The names of the SMSCs that take ``number`` (+ and digits), by the longest prefix of it.

    One without prefixes takes every number, after those that name it; of equals the first in the
    table comes first. Empty: none takes it.
    """
    fits = {name: _longest(number, smsc.prefixes) for name, smsc in smscs.items()}
    taking = [name for name, length in fits.items() if length is not None]
    return sorted(taking, key=lambda name: -(fits[name] or 0))


def _longest(number: str, prefixes: tuple[str, ...]) -> int | None:
    """Length of the longest of ``prefixes`` that ``number`` has; 0 if there are no prefixes."""
    if not prefixes:
        return 0
    return max((len(prefix) for prefix in prefixes if number.startswith(prefix)), default=None)
