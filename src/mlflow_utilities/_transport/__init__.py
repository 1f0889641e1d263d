"""HTTP: connections, time limits, repetition. The only package that knows the HTTP library."""

from mlflow_utilities._transport.transport import HttpTransport

__all__ = ["HttpTransport"]
