"""``python -m aoi_events.cli`` is ``aoi``."""

from aoi_events.cli.app import main

if __name__ == "__main__":
    main()
