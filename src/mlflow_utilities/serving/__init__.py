"""Serving: the refreshing and routing set of models inside a service."""
