"""Holds all data that methods answer from: the walls, and what communities have apart from their walls."""

from simulator.discussions import Discussions
from simulator.members import Members
from simulator.world import World


class Site:
    """The walls of a world, the discussions (topics, photos, videos) of its communities, and their members."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.discussions = Discussions(world)
        self.members = Members(world.population)
