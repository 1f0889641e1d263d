"""The command line: mlflow-utilities."""


def main() -> None:
    """Run the command line."""
