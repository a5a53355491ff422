"""The pytest plug-in: fixtures for everything that talks to AOI events.

``aoi``, ``aoi_rabbitmq``, ``fake_device``, ``wait_for``, ``scripted_channel`` and ``aoi_settings``;
`pytest --fixtures` explains them. They need pytest-asyncio, in its mode *auto* or *strict* (in the
latter, mark your tests with ``@pytest.mark.asyncio``); anyio's runner cannot run them.

pytest loads this file in every run of every project that has aoi-events installed, so it imports
nothing beyond pytest: what a fixture needs is loaded by the first test that asks for it.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Settings of the project that is tested."""
    parser.addini(
        "aoi_rabbitmq_image",
        "image of RabbitMQ, with management, for aoi_rabbitmq; AOI_TEST_RABBITMQ_IMAGE wins "
        "(default: rabbitmq:4-management)",
    )
    parser.addini(
        "aoi_postgres_image",
        "image of PostgreSQL for aoi_rabbitmq; AOI_TEST_POSTGRES_IMAGE wins (default: postgres:17)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker and the fixtures known."""
    config.addinivalue_line(
        "markers",
        "aoi_settings(**settings): settings of the AOI Server for this test, section by section, "
        "for example policy={'backlog': 3}",
    )
    # pytest explains assertions that fail only in modules that it rewrites.
    pytest.register_assert_rewrite("aoi_events.testing.conformance")
    try:
        from aoi_events.testing import fixtures
    except ModuleNotFoundError as error:
        if error.name != "pytest_asyncio":
            raise
        config.pluginmanager.register(_Unavailable(), "aoi_events.testing.unavailable")
    else:
        config.pluginmanager.register(fixtures, "aoi_events.testing.fixtures")


class _Unavailable:
    """The same names where a part is missing that they need: the test says which one."""

    @pytest.fixture(name="aoi")
    def _aoi(self) -> None:
        pytest.fail("pytest-asyncio is missing: pip install 'aoi-events[testing]'", pytrace=False)

    @pytest.fixture(name="aoi_rabbitmq")
    def _aoi_rabbitmq(self, aoi: None) -> None: ...

    @pytest.fixture(name="fake_device")
    def _fake_device(self, aoi: None) -> None: ...

    @pytest.fixture(name="scripted_channel")
    def _scripted_channel(self, aoi: None) -> None: ...

    @pytest.fixture(name="wait_for")
    def _wait_for(self, aoi: None) -> None: ...
