"""robolearn: from a few demonstrations to a refined, value-guided robot policy, and onto the robot."""

__version__ = "0.1.0"
