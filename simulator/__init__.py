"""A VK API server for demos and tests, faithful to VK's own published schema; independent of `app`."""

from simulator.faults import Fault, FaultRates, RatedFault
from simulator.options import ChurnRates, SimulatorOptions
from simulator.server import create_simulator
from simulator.texts import THEMES

DEMO_SCREEN_NAME = THEMES[0].screen_name

__all__ = [
    "DEMO_SCREEN_NAME",
    "ChurnRates",
    "Fault",
    "FaultRates",
    "RatedFault",
    "SimulatorOptions",
    "create_simulator",
]
