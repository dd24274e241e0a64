"""Tests of scepd.observe."""
