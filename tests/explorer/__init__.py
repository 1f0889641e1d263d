"""A model checker for the protocol of the rollout ledger; `python -m explorer` prints its figures."""
