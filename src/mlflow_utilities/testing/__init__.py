"""An in-memory MLflow, builders, assertions, faults and a clock for the tests of services."""
