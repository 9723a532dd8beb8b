"""`mmgenre` and `python -m mmgenre`; of a broken installation they say which package it is."""

from __future__ import annotations

import sys
from typing import NoReturn

from mmgenre.installation import explanation


def main() -> NoReturn:
    """Runs the command line."""
    try:
        from mmgenre.cli import main as run

        run()
    except KeyboardInterrupt:  # before the command line can say anything
        sys.exit(130)
    except Exception as error:
        why = explanation(error)
        if why is None:
            raise
        sys.exit(f"error: {why}; mmgenre doctor looks at all packages")


if __name__ == "__main__":
    main()
