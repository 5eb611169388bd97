"""Profile for running the properties a second time, on other builds of the native routines."""

from hypothesis import settings

settings.register_profile("short", max_examples=8)
