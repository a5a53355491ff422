"""The output of ``aoi keys list``: the token keys, and which of them tokens need."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aoi_events.bootstrap.keys import load_keys
from aoi_events.bootstrap.settings import load_settings
from aoi_events.cli.output import console, plain, print_json
from aoi_events.cli.store import checked_store


def print_token_keys(*, json: bool) -> None:
    """Print each token key, in the settings or missing there, with the number of its tokens."""
    keys = load_keys(load_settings()).token_keys
    in_use = asyncio.run(_in_use())
    rows = [
        {
            "key": key_id,
            "issuing": key_id == keys.issuing,
            "tokens": in_use.get(key_id, 0),
            "missing": key_id not in keys.ids,
            "removable": key_id != keys.issuing and not in_use.get(key_id),
        }
        for key_id in (*keys.ids, *sorted(in_use.keys() - set(keys.ids)))
    ]
    if json:
        print_json({"keys": rows})
        return
    for row in rows:
        console.print(plain(f"{row['key']:<16}  {_in_words(row)}"), soft_wrap=True)


def _in_words(row: dict[str, Any]) -> str:
    tokens = "1 token" if row["tokens"] == 1 else f"{row['tokens']} tokens"
    if row["missing"]:
        return f"missing, and {tokens} need{'s' * (row['tokens'] == 1)} it: put it back"
    if row["issuing"]:
        return f"issuing, {tokens}"
    return "may be removed" if row["removable"] else f"in use, {tokens}"


async def _in_use() -> Mapping[str, int]:
    async with checked_store() as store, store.transaction(read_only=True) as tx:
        return await tx.token_keys_in_use()
