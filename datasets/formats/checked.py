"""What every importer promises: an episode that does not fit its spec is an error that names the file and the episode."""

from __future__ import annotations

from robolearn.datasets.layout import StoreError
from robolearn.episode import Episode
from robolearn.spec import EnvSpec, SpecError


def checked(episode: Episode, spec: EnvSpec, place: str, hint: str = "") -> Episode:
    """The episode, held against its spec.

    Args:
        episode: as it was read.
        spec: of the data set.
        place: the file and the episode in it.
        hint: what to try.

    Raises:
        StoreError: it holds NaN or leaves the format.
    """
    try:
        episode.check(spec)
    except SpecError as error:
        raise StoreError(f"{place}: {error}{hint}") from error
    return episode
