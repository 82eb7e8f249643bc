"""Captioned scenes, composed from labelled recordings or rendered sounds."""
