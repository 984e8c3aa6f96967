"""`python -m tfod_csf` is the console script `tfod_csf`."""

import sys

from tfod_csf.commands import command_line

if __name__ == "__main__":
    sys.exit(command_line.main())
