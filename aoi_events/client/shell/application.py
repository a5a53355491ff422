"""The handle of a registered app instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aoi_events.domain.clients.tokens import fingerprint_of
from aoi_events.errors import ApplicationNotRegistered

if TYPE_CHECKING:
    from aoi_events.client.shell.client import AoiClient


class Application:
    """A running app instance that is registered with the AOI Client."""

    def __init__(self, registrar: AoiClient, application: str, instance: str, key: str) -> None:
        self._registrar = registrar
        self._key = key
        self.application = application
        self.instance = instance

    @property
    def token(self) -> str:
        """The Application Client Token for the Application Server: who has it may send.

        It changes with the user identity. Raises ApplicationNotRegistered while there is none.
        """
        record = self._registrar.record_of(self._key)
        if record is None or record.token is None:
            raise ApplicationNotRegistered(
                f"{self._key} has no token now: it was deregistered, or is being registered again "
                "(await until_token)"
            )
        return record.token

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the token, which is not secret. Raises ApplicationNotRegistered."""
        return fingerprint_of(self.token)

    async def until_token(
        self, *, other_than: str | None = None, timeout: float | None = 30.0
    ) -> str:
        """Wait for a token that is not ``other_than``, and return it.

        ``timeout`` is in seconds. Raises RequestTimeout, RequestRefused, ClientStopped.
        """
        return await self._registrar.until_token(self._key, other_than, timeout)

    async def stop(self) -> None:
        """The app instance stops and stays registered: it can be woken."""
        await self._registrar.stop_application(self._key)

    async def deregister(self, *, timeout: float | None = 30.0) -> None:
        """End the registration. The token is void on this device at once.

        Returns when the server has confirmed. Raises RequestTimeout after ``timeout`` seconds; the
        client then deregisters at the next connection. Raises RequestRefused, ClientStopped.
        """
        await self._registrar.deregister_application(self._key, timeout)

    def __repr__(self) -> str:
        return f"Application({self._key!r})"
