"""The scheduled job: read, check, fit, judge, publish, and never publish what is worse."""
