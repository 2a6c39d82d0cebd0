"""Seeing on the edge, offline: camera → MobileNet → MQTT."""

__version__ = "0.1.0"
