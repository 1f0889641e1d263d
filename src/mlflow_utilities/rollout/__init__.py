"""Semantic versions and rollouts of models: values and rules, the ledger that stores them, and the verbs' effects."""
