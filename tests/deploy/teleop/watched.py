"""An assembly world that shows its last observation to whoever stands beside it."""

from robolearn.sim.assembly import Assembly


class WatchedAssembly(Assembly):
    """The last one made is ``there``."""

    there = None
    last = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        WatchedAssembly.there = self

    def observation(self):
        self.last = super().observation()
        return self.last
