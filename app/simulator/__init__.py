"""A VK API server for demos and tests, faithful to VK's own published schema; it stands apart from the rest of app."""

from app.simulator.options import SimulatorOptions
from app.simulator.server import create_simulator
from app.simulator.texts import THEMES

DEMO_SCREEN_NAME = THEMES[0].screen_name

__all__ = ["DEMO_SCREEN_NAME", "SimulatorOptions", "create_simulator"]
