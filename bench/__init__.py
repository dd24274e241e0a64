"""Benchmarks: what an enrolment costs, and where the time goes."""
