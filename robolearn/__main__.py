"""``python -m robolearn``: the command line."""

import sys

from robolearn.cli import main

sys.exit(main())
