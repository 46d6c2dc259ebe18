"""Batches of tasks: computed in processes that may die, kept in a directory, resumed."""
