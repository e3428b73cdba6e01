"""``python -m iii_fast``: the command line, without the script."""

import sys

from iii_fast.cli import main

sys.exit(main())
