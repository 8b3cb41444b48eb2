"""From predictions to decisions: segments, cohorts, scenarios, budgets."""
