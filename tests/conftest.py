"""What all tests share: generated examples are the same on every machine and in every run.

`make fuzz` looks for new ones; what it finds becomes an example (`@example`) or a test of its own.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("fuzz", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
