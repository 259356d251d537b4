"""Ray's actors answer for the shards of a set: see `secateur.ray`."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from . import _native as native_module
from . import arguments
from .encoder import Encoder
from .errors import DatabaseError, SecateurError, SystemFailure, UsageError
from .opened import Loading
from .ray_builds import Resources, cause_of
from .shard_plans import ShardPlan
from .shard_sets import ShardSet
from .shard_store import ShardStore, scratch_folder
from .stored_files import MANIFEST, PLAN, digest_of, folder_of, shown, write_whole

__all__ = ["ServedShards", "serve_shards"]

_Path = str | os.PathLike[str]

CONCURRENT = 8
"""Questions that an actor answers at a time: small ones beside long ones."""


class Shards(NamedTuple):
    """Where the shards of a set are, for actors."""

    where: str
    filesystem: Any
    generation: str | None
    scratch: _Path | None

    def folder(self, plan: Mapping[str, bytes]) -> Path:
        """Where they are copied to on a machine that has not got them."""
        return scratch_folder(self.scratch) / f"{digest_of(plan)[:32]}-served"


class _Server:
    """An actor that answers for some shards of a set. They are in the state in which they were when it was begun."""

    def __init__(self, shards: Shards, threads: int) -> None:
        from . import set_num_threads

        set_num_threads(threads)
        self._shards = shards
        self._opened: dict[int, native_module.ServedShard] = {}
        self._lock = threading.Lock()

    def open(self, numbers: Sequence[int]) -> None:
        """Opens shards, or copies them here first. Not the constructor's work: what that raises comes as text alone."""
        for number in numbers:
            self._shard(number)

    def answer(self, number: int, route: str, body: bytes) -> bytes | None:
        """What a shard answers; `None` if another state of it was asked about."""
        return self._shard(number).answer(route, body)

    def _shard(self, number: int) -> native_module.ServedShard:
        # An actor that was started again has opened none yet.
        with self._lock:
            if number not in self._opened:
                path = os.fspath(self._path(number))
                self._opened[number] = native_module.ServedShard.open(path, self._shards.generation)
            return self._opened[number]

    def _path(self, number: int) -> Path:
        store = ShardStore(self._shards.where, self._shards.filesystem)
        if store.local_path is not None:
            return store.local_path / folder_of(number)
        plan = store.plan()
        folder = self._shards.folder(plan) / folder_of(number)
        folder.parent.mkdir(parents=True, exist_ok=True)
        store.download(number, folder, plan)
        return folder


class ServedShards(ShardSet):
    """A set whose shards are answered for by actors of Ray. It answers as `ShardSet`: see `serve_shards`.

    `close`, or the end of a ``with`` block, ends the actors. So does the end of the program that started them.
    """

    actors: list[Any]
    """The actors. Actor number *i* of *n* answers for the shards *i*, *i + n*, ..."""
    _plan: ShardPlan

    def _load(self) -> None:
        if not self._native.has_encoder_record or self._native.encoder is not None:
            return
        # Shards say what their encoder is called, and the plan where it is.
        planned = self._plan.load_encoder(device=self._loading.device)
        try:
            if planned is not None:
                self._native.set_encoder(planned._native)
                return
        except DatabaseError:
            # The generation that is read is one that was added since.
            pass
        super()._load()

    def close(self) -> None:
        """Ends the actors. The set answers no more."""
        for actor in self.actors:
            ray.kill(actor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError(f"{self!r} does not travel: call serve_shards in the program that searches")


def serve_shards(
    where: ShardPlan | _Path,
    *,
    num_actors: int | None = None,
    num_cpus: float = 1,
    resources: Mapping[str, float] | None = None,
    max_restarts: int = 3,
    timeout: float = 60,
    partial: bool = False,
    encoder: Encoder | _Path | None = None,
    generation: str | None = None,
    device: str | None = None,
    filesystem: Any = None,
    scratch: _Path | None = None,
) -> ServedShards:
    """Starts actors that answer for the shards of a finished set, and gives the set that asks all of them.

    Queries are encoded here. Every search asks all actors twice where it is by words: for the statistics of its terms, and with
    their sums. So hits and scores are those of `ShardSet.open`, bit for bit.

    An actor that dies is started again, and what it was asked is asked again. Actors answer in the state in which they opened
    their shards: call it again after shards were changed and the set was finished again.

    :param where: the plan, folder or URI of a finished set. A folder must be one that all machines see. From a store the shards
        are copied to the machines of their actors.
    :param num_actors: how many actors share the shards: as many as the cluster has room for, unless given.
    :param num_cpus: what Ray keeps free for each, and how many threads it computes on.
    :param max_restarts: how often an actor is started again; -1 for always.
    :param timeout: seconds that an actor may take to answer. To open its shards it may take any time.
    :param partial: leave out shards that give no answer: `ShardSet.missing` says which.
    :param encoder: the encoder of the vectors, or where it is on this machine. Unless given it is loaded from where it was.
    :param device: where an encoder that it loads computes.
    :param scratch: a folder on each machine, for copies.
    """
    if num_actors is not None:
        arguments.whole("num_actors", num_actors, 1)
    arguments.whole("max_restarts", max_restarts, -1)
    if not timeout > 0:
        raise UsageError(f"timeout is {timeout}: expected some seconds")
    store = ShardStore(where.path if isinstance(where, ShardPlan) else where, filesystem)
    shards = Shards(store.where, filesystem, generation, scratch)
    here = _here(store, shards)
    planned = ShardPlan.open(here)
    num_shards = planned.num_shards
    asked = {"num_cpus": num_cpus, "resources": dict(resources or {})}
    count = Resources(num_actors, asked).wanted(num_shards)
    # Shards are only read, so what an actor was asked when it died can be asked again.
    lives = {"max_restarts": max_restarts, "max_task_retries": max_restarts}
    actor = ray.remote(_Server).options(max_concurrency=CONCURRENT, **lives, **asked)
    actors = [actor.remote(shards, max(1, int(num_cpus))) for _ in range(count)]
    try:
        # All at once, and for as long as copies take.
        openings = [server.open.remote(list(range(first, num_shards, count))) for first, server in enumerate(actors)]
        for number, opening in enumerate(openings):
            try:
                _answer(opening, f"actor {number} of {count}", None)
            except SecateurError:
                if not partial:
                    raise

        def ask(number: int, route: str, body: bytes) -> bytes | None:
            told: bytes | None = _answer(actors[number % count].answer.remote(number, route, body), "it", timeout)
            return told

        places = [f"actor {number % count} of {count}" for number in range(num_shards)]
        opened = native_module.ShardSet.called(os.fspath(here / MANIFEST), places, ask, generation, partial)
        served = ServedShards._of(opened, encoder, Loading(device, None, None), ())
    except BaseException:
        for server in actors:
            ray.kill(server)
        raise
    served.actors, served._plan = actors, planned
    return served


def _here(store: ShardStore, shards: Shards) -> Path:
    """A folder of this machine that has the plan and the manifest of a finished set."""
    plan, manifest = store.plan(), store.read_manifest()
    if manifest is None:
        raise DatabaseError(f"{shown(store.where)} is not finished: it has no {MANIFEST}; build its shards, then finish it")
    if store.local_path is not None:
        return store.local_path
    folder = shards.folder(plan)
    for name, content in [*sorted(plan.items(), key=lambda file: file[0] == PLAN), (MANIFEST, manifest)]:
        write_whole(folder / name, content)
    return folder


def _answer(ref: Any, who: str, timeout: float | None) -> Any:
    """What an actor answers. What it raises is raised here, and what happens to it is an error of the system."""
    try:
        return ray.get(ref, timeout=timeout)
    except GetTimeoutError:
        advice = "give a larger timeout, or more actors"
        raise SystemFailure(f"{who} gave no answer within {timeout:g} s; {advice}") from None
    except RayTaskError as error:
        raise cause_of(error, f"{who} failed") from None
    except RayError as error:
        raise SystemFailure(f"{who} was lost: {error}") from error
