"""Measuring models: metrics, the named protocols, tasks from a config, reports."""
