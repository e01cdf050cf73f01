"""The time limits of tests: they end only hangs, and have one common factor.

No test measures speed by a clock: machines differ, and other programs run on them.
These limits end a test that would wait forever, with a message. They are far above
the needs of any wait on an idle machine; on a slower machine, set
TEST_TIMEOUT_FACTOR to 2, 5 or more.
"""

import os

FACTOR = float(os.environ.get("TEST_TIMEOUT_FACTOR", "1"))

WAIT_SECONDS = 180.0 * FACTOR
"""The limit of one wait: for a condition, a message, a process that starts or ends, a page."""

TEST_SECONDS = 900.0 * FACTOR
"""The limit of one test with its fixtures; pytest-timeout then prints the stack of each thread."""
