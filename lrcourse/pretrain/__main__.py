"""`python -m lrcourse.pretrain`: train one GPT."""

import sys

from lrcourse.pretrain.command import main

sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal of another code
try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit("\nStopped. The same command with --resume goes on from the last checkpoint.")
