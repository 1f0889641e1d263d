"""Fixtures for pytest, found by its entry point."""
