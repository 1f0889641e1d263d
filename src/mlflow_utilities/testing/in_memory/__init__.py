"""The rules and the state of an MLflow tracking server, in memory and without I/O."""
