"""The REST methods: one module for each URL prefix, one method for each endpoint."""
