"""What holds for every test run."""

import signal

# A shell without job control starts background commands with SIGINT ignored, and the processes
# that tests start inherit it: their Ctrl-C would never arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)
