"""What every Kinemask service shares: server, settings, health, errors, metrics, batching."""

import os

# Services start programs (PostgreSQL) while rpcs run. In the moment between fork and exec, gRPC's
# own handlers would reset its poller in the child, which sometimes aborts there: the program never
# starts. No service goes on using gRPC in a forked child.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
