"""CMSR: rendering, scale tables and how they are made."""
