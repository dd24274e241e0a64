"""Tests of scepd.web."""
