"""This file holds all that methods answer from: walls, and what communities have beside them."""

from simulator.annexes import Annexes
from simulator.members import Members
from simulator.world import World


class Site:
    """The walls of a world, the topics, photos and videos of its communities, and who belongs to them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.annexes = Annexes(world)
        self.members = Members(world.population)
