"""`python -m kvbm_spec`: see `kvbm_spec.command`."""

import sys

from kvbm_spec.command import main

if __name__ == "__main__":
    sys.exit(main())
