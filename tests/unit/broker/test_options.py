"""Options in the broker's URL are checked before anything connects."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from aoi_events.broker.open import open_broker
from aoi_events.errors import ConfigurationError


@pytest.mark.parametrize(
    "option, words",
    [
        ("ca_file=/etc/ca.pem", "has the option 'ca_file'; there are cafile, certfile"),
        ("cafile=none", "cafile of the broker's URL (AOI_BROKER): cannot read none: No such file"),
        ("cafile=fifo", "cafile of the broker's URL (AOI_BROKER): cannot read fifo: not a regular"),
        ("cafile=empty", "empty must be a PEM file with the certificates to trust"),
        ("keyfile=fifo", "keyfile of the broker's URL (AOI_BROKER): cannot read fifo: not a reg"),
        ("cafile=", "has cafile that is not a file"),
        ("timeout=soon", "has timeout that is not whole seconds"),
        ("auth=none", "has auth that is not plain or external"),
    ],
)
async def test_an_option_that_cannot_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str, words: str
) -> None:
    """It is refused in one line that names it, and without the password."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigurationError, match=re.escape(words)) as refused:
        await open_broker(f"amqps://u:hidden@127.0.0.1:1/v?{option}")
    assert "hidden" not in str(refused.value)
