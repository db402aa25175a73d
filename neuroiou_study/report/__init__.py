"""The store as tables for people; knows neither Ray nor MLflow."""
