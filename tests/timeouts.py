"""How long tests wait for something that has to happen: only hangs are ended by time, and by one scale.

No test measures whether something is fast enough by a clock: machines differ, and other
programs run on them. These limits exist so that a test that waits in vain ends with a
message. They are far above what any wait needs on an idle machine; on a machine that is
slower still, set TEST_TIMEOUT_FACTOR to 2, 5 or more.
"""

import os

FACTOR = float(os.environ.get("TEST_TIMEOUT_FACTOR", "1"))

WAIT_SECONDS = 180.0 * FACTOR
"""The limit of one wait: for a condition, a message, a process that starts or ends, a page."""

TEST_SECONDS = 900.0 * FACTOR
"""The limit of one test with its fixtures; pytest-timeout then prints the stack of every thread."""
