"""The ``depotwatch`` command as a module, for tests that start it as a process."""

import sys

from service.cli import main

if __name__ == "__main__":
    sys.exit(main())
