"""How many examples of a property are tried: `--hypothesis-profile short` (test_sanitizers.py) or `long` (by hand)."""

from hypothesis import settings

settings.register_profile("short", max_examples=8)
settings.register_profile("long", max_examples=1000)
