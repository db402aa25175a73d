"""The search: the only imports of Ray, Optuna and MLflow."""
