"""`python -m viz`: see viz.command."""

import sys

from viz.command import main

if __name__ == "__main__":
    sys.exit(main())
