"""Texts to paste into devices."""
