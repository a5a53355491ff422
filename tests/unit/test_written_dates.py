"""What the check of tests/unit/test_dates.py takes for a date and for a look at the clock."""

from __future__ import annotations

import pytest

from tests.support.dates import clock_reads, written_dates

DATES = {
    "from datetime import datetime\nat = datetime(2031, 1, 2)": "datetime(2031, 1, 2)",
    "import datetime\nat = datetime.date(2031, 1, 2)": "datetime.date(2031, 1, 2)",
    "from datetime import datetime as dt\nat = dt(2031, 1, 2)": "dt(2031, 1, 2)",
    "import datetime as d\nat = d.datetime(2031, 1, 2)": "d.datetime(2031, 1, 2)",
    "\nat = datetime(year=2031, month=1, day=2)": "year=2031",
    "\nat = now.replace(year=2031)": "year=2031",
    "\nat = now.replace(2031)": "now.replace(2031)",
    "from datetime import datetime as d\nd.strptime('2/1/31', '%x')": "d.strptime('2/1/31', '%x')",
    "import time as t\nt.strptime('2/1/31')": "t.strptime('2/1/31')",
    "from datetime import date\ndate.fromisoformat('2031-01-02')": (
        "date.fromisoformat('2031-01-02')"
    ),
    "import datetime as d\nd.date.fromtimestamp(\n2e9)": "d.date.fromtimestamp(2000000000.0)",
    "\nFRAME = {'expires_at': '2031-01-02T03:04:05Z'}": "2031-01-02",
    '\nFRAME = b\'{"at": "2031-01-02"}\'': "2031-01-02",
    "\nat = f'{n} 2031-01-02'": "2031-01-02",
    "\nSAMPLE = '20310102T030405Z'": "20310102T0",
    "\nEND_DATE = '20310102'": "20310102",
    "\nSAMPLE = 'Thu, 02 Jan 2031 03:04:05 GMT'": "02 Jan 2031",
    "\nSAMPLE = 'Thursday, 02-Jan-31 03:04:05 GMT'": "02-Jan-31",
    "\nSAMPLE = 'Thu Jan  2 03:04:05 2031'": "Jan  2 03:04:05 2031",
    "\nPERIOD = b'310102030405000+'": "310102030405000+",
    "\nTEXT = b'id:1 done date:3101020304'": "3101020304",
    "\nTEXT = b'id:1 done date:310102030405'": "310102030405",
    "\nTEXT = b'id:1 done date:20310102030405'": "20310102030405",
    "\nnear = 1_925_000_000": "1925000000",
    "\nnear = 1_925_000_000_000": "1925000000000",
    "\nCLAIMS = {'exp': 2_000_000_000}": "2000000000",
    "\nf(expires_at=2e12)": "2000000000000",
    '\nTEXT = """{\n"created_at": 2_000_000_000}"""': "2000000000",
}
"""Sources, each with the date in its second line."""

NO_DATES = """
from datetime import datetime
SIZES = [2_000_000_000, 2**31 - 1, 20310102, 1_925_000]
ATTEMPTS, FORMAT = 2_000_000_000, 3_000_000_000
TEXT = "id:2031010203 20310102 310102030405 +4915112345678".replace("2031", "2032")
NEVER = datetime.min.replace(tzinfo=UTC), datetime(1, 1, 1)
AT = "4915112345678", 1_925_000, -2_000_000_000
"""

READS = {
    "import time\ntime.time()": "time.time",
    "import time as t\nt.time()": "t.time",
    "from time import time as now\nnow()": "now",
    "import time\ntime.time_ns()": "time.time_ns",
    "import time\ntime.ctime()": "time.ctime",
    "import time\ntime.gmtime()": "time.gmtime",
    "import time\ntime.localtime()": "time.localtime",
    "from datetime import datetime\ndatetime.today()": "datetime.today",
    "from datetime import datetime\ndatetime.utcnow()": "datetime.utcnow",
    "import datetime\ndatetime.datetime.now()": "datetime.datetime.now",
    "import datetime as d\nd.date.today()": "d.date.today",
    "from datetime import datetime as dt\ndt.now()": "dt.now",
    "import datetime as d\ndef f(at=d.datetime.now()): pass": "d.datetime.now",
    "from datetime import date\n@p(date.today())\ndef f(): pass": "date.today",
}
"""Sources, each with the look at the clock that an import of it takes in the second line."""

NO_READS = """
import time
from time import monotonic as now, time as wall_clock

STARTED = now(), time.perf_counter(), queue.time()

def f():
    return time.time() + wall_clock()
"""


@pytest.mark.parametrize("source", DATES)
def test_a_date_is_found_once(source: str) -> None:
    """However it is written, and whatever the classes are called; with its line."""
    assert list(written_dates("test_it.py", source)) == [(2, DATES[source])]


def test_sizes_and_identifiers_are_no_dates() -> None:
    """Numbers that could be times are none where nothing on their line says so."""
    assert list(written_dates("test_it.py", NO_DATES)) == []
    assert list(written_dates("it.js", "const size = 2_000_000_000;\nconst id = '20310102';")) == []


def test_a_page_is_read_where_tests_play_it() -> None:
    """In its blocks, Python's as Python; its prose may say when something was measured."""
    page = (
        "Measured on 2031-01-02.\n"
        "```python\nfrom datetime import date as d\nat = d(2031, 1, 2)\n```\n"
        '```json\n{"at": "2031-01-02"}\n```\n'
    )
    assert list(written_dates("docs/it.md", page)) == [(4, "d(2031, 1, 2)"), (7, "2031-01-02")]


@pytest.mark.parametrize("source", READS)
def test_a_look_at_the_clock_on_import_is_found(source: str) -> None:
    """Whatever the module, the class or the function is called; with its line."""
    assert list(clock_reads(source, on_import=True)) == [(2, READS[source])]


def test_what_runs_later_is_not_read_on_import() -> None:
    """The bodies of functions; and clocks without a date may be read at any time."""
    assert list(clock_reads(NO_READS, on_import=True)) == []
    assert [text for _, text in clock_reads(NO_READS)] == ["time.time", "wall_clock"]


@pytest.mark.parametrize("clock", ["MovableClock", "SystemClock"])
def test_clocks_of_ours_that_run_are_found(clock: str) -> None:
    """They read the machine's clock when they are asked, and not on import."""
    source = f"from aoi_events import {clock} as Clock\nCLOCK = Clock()"
    assert list(clock_reads(source)) == [(2, "Clock")]
    assert list(clock_reads(source, on_import=True)) == []
