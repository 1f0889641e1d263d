"""Pure rules of MLflow's wire protocol: no input or output happens here."""
