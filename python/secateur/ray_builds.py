"""Ray builds the shards of a set: see `secateur.ray`."""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError

from . import arguments
from .encoder import Encoder
from .errors import SecateurError, SystemFailure, UsageError
from .progress import Progress, ProgressCallback, show
from .shard_plans import Corpus, SetReport, ShardPlan
from .shard_store import ShardBuilder, ShardStore, finish as finish_store
from .stored_files import plan_files

__all__ = ["BuildReport", "build_shards"]

_Path = str | os.PathLike[str]

TICK = 0.5
"""Seconds between two looks at how far the actors are."""


class BuildReport(NamedTuple):
    """What has come of `build_shards`."""

    num_built: int
    """Shards that were built."""
    num_there: int
    """Shards that were there already."""
    finished: SetReport | None
    """What the set holds, if it was finished."""


class Documents(NamedTuple):
    """What a shard is built of, as `ShardPlan.build` takes it."""

    documents: Any = None
    options: Mapping[str, Any] = {}


class Resources(NamedTuple):
    """What Ray is asked for."""

    num_actors: int | None = None
    options: Mapping[str, Any] = {}
    max_retries: int = 3

    def device(self, given: str | None) -> str | None:
        """Where an encoder computes: on the actor's GPU if it has one, unless given."""
        return "cuda:0" if given is None and self.options.get("num_gpus") else given

    def wanted(self, num_shards: int) -> int:
        """How many actors: as many as the cluster has room for now, unless given, and no more than there are shards."""
        if self.num_actors is not None:
            return min(self.num_actors, num_shards)
        there = ray.cluster_resources()
        asked = {"CPU": self.options.get("num_cpus", 0), "GPU": self.options.get("num_gpus", 0)}
        asked |= self.options.get("resources") or {}
        rooms = [int(there.get(name, 0) // amount) for name, amount in asked.items() if amount]
        return max(1, min([*rooms, num_shards]))


class _Builder:
    """An actor that builds shards, one after the other."""

    def __init__(self, where: str, threads: int, options: Mapping[str, Any], documents: Callable[[int], Documents]) -> None:
        from . import set_num_threads

        set_num_threads(threads)
        self._where, self._options, self._documents = where, options, documents
        self._builder: ShardBuilder | None = None
        self._done = 0

    def prepare(self) -> None:
        """Loads the encoder. Not the constructor's work: what that raises comes to the driver as text alone."""
        self._builder = ShardBuilder(self._where, **self._options)
        self._builder.load()

    def build(self, number: int) -> bool:
        assert self._builder is not None, "prepare comes first"
        self._done = 0
        given = self._documents(number)
        return self._builder.build(number, given.documents, progress=self._hear, **given.options)

    def done(self) -> int:
        """Documents of the shard in hand that are done. Is called while `build` runs."""
        return self._done

    def _hear(self, progress: Progress) -> None:
        self._done = progress.done


def build_shards(
    plan: ShardPlan | _Path,
    out: _Path | None = None,
    *,
    documents: Corpus | None = None,
    files: Iterable[_Path] | None = None,
    fields: Any = None,
    encoder: _Path | Callable[[], Encoder] | None = None,
    device: str | None = None,
    filesystem: Any = None,
    scratch: _Path | None = None,
    num_actors: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    resources: Mapping[str, float] | None = None,
    max_retries: int = 3,
    finish: bool = True,
    progress: ProgressCallback | None = None,
) -> BuildReport:
    """Builds the shards of a set with Ray, and uploads them. Run again after whatever happened, it builds what is missing.

    Actors build one shard after the other, each in a folder of its machine. Each loads the encoder once. If an actor or its
    machine dies, another builds the shard: from the vectors that are kept, if it is on the same machine.

    :param plan: the plan, or the folder or URI of a set.
    :param out: where the shards go: a folder that all machines see, or a URI of pyarrow's filesystems. It becomes a whole set,
        with a plan. Unless given it is the place of the plan.
    :param documents: the corpus on each machine, as in `ShardPlan.build`: best a function that reads it.
    :param files: the absolute paths of the planned files on each machine, if they are not where they were.
    :param encoder: the absolute path of the set's encoder on each machine, or a function that gives it. Unless given it is
        loaded from where it was.
    :param device: where it computes; ``cuda:0`` unless given if an actor has a GPU.
    :param filesystem: one of pyarrow or fsspec in which `out` is a path.
    :param scratch: an absolute path, a folder on each machine. What a kill leaves there is taken up again.
    :param num_actors: how many build at once: as many as the cluster has room for, unless given.
    :param num_cpus: what Ray keeps free for each, and how many threads it computes on.
    :param max_retries: how many times a shard may lose its actor, or fail with a `SystemFailure`.
    :param finish: check the shards against each other and write the manifest. If `out` is no folder of the driver's machine,
        all shards are copied to it for this.
    :param progress: is called with the documents that are done. On a terminal a line tells them unless it is given.
    """
    check(encoder, num_actors, max_retries)
    if documents is not None and hasattr(documents, "__next__"):
        raise UsageError("every machine reads the documents anew: give paths that all see, or a function that reads them")
    given: Mapping[str, bytes] | None = None
    if isinstance(plan, ShardPlan):
        given, place = plan_files(plan.path), os.fspath(plan.path)
    else:
        place = os.fspath(plan)
        if out is not None:
            given = ShardStore(place).plan()
    where = place if out is None else os.fspath(out)
    # Here, so that what is wrong with it is told at once.
    here = ShardBuilder(where, plan=given, filesystem=filesystem, scratch=scratch)
    of_shard = Documents(documents, {"files": None if files is None else list(files), "fields": fields})
    asked = {"num_cpus": num_cpus, "num_gpus": num_gpus, "resources": dict(resources or {})}
    wanted = Resources(num_actors, asked, max_retries)
    options = {"filesystem": filesystem, "encoder": encoder, "device": wanted.device(device), "scratch": scratch}
    return run(here, options, lambda _: of_shard, wanted, shown(progress), finish=finish)


def check(encoder: Any, num_actors: int | None, max_retries: int) -> None:
    """What cannot be asked of Ray is an error before anything is begun."""
    if isinstance(encoder, Encoder):
        raise UsageError("an Encoder does not travel to other machines: give its path, or a function that loads it")
    if num_actors is not None:
        arguments.whole("num_actors", num_actors, 1)
    arguments.whole("max_retries", max_retries)


def shown(given: ProgressCallback | None) -> ProgressCallback | None:
    """The callback, or on a terminal one that prints a line."""
    return show if given is None and sys.stderr.isatty() else given


def run(
    here: ShardBuilder,
    options: Mapping[str, Any],
    documents: Callable[[int], Documents],
    resources: Resources,
    progress: ProgressCallback | None,
    *,
    finish: bool,
) -> BuildReport:
    """Has the shards built that are missing in the store of a builder."""
    store, planned = here.store, here.plan.shards
    there = store.whole(here.files)
    missing = [number for number in range(len(planned)) if number not in there]
    sizes = [shard.num_documents for shard in planned]
    if missing:
        actor = ray.remote(_Builder).options(max_concurrency=2, max_restarts=0, **resources.options)
        threads = max(1, int(resources.options.get("num_cpus") or 1))
        shared = ray.put(documents)

        def start() -> Any:
            return actor.remote(store.where, threads, options, shared)

        _Run(missing, sizes, start, resources, progress).go()
        store.forget_uploads()
    report = None
    if finish:
        scratch = options.get("scratch")
        report = finish_store(store.where, filesystem=options.get("filesystem"), scratch=scratch)
    return BuildReport(len(missing), len(there), report)


class _Run:
    """Shards on their way to actors."""

    def __init__(
        self,
        missing: Sequence[int],
        sizes: Sequence[int],
        start: Callable[[], Any],
        resources: Resources,
        progress: ProgressCallback | None,
    ) -> None:
        self._waiting = deque(missing)
        self._sizes = sizes
        self._start_actor = start
        self._wanted = resources.wanted(len(missing))
        self._max_retries = resources.max_retries
        self._progress = progress
        self._done = sum(sizes) - sum(sizes[number] for number in missing)
        self._lost: Counter[int | None] = Counter()
        # What is under way: its actor and its shard; no shard for an actor that starts.
        self._running: dict[Any, tuple[Any, int | None]] = {}

    def go(self) -> None:
        """Has all shards built."""
        try:
            self._fill()
            while self._waiting or any(number is not None for _, number in self._running.values()):
                ready, _ = ray.wait(list(self._running), timeout=TICK)
                for ref in ready:
                    self._take(ref, *self._running.pop(ref))
                self._fill()
                self._tell()
        finally:
            for actor, _ in self._running.values():
                ray.kill(actor)

    def _fill(self) -> None:
        """Starts actors while there are shards for them. Those that start have no shard, so none waits for a machine."""
        starting = sum(number is None for _, number in self._running.values())
        while len(self._running) < self._wanted and starting < len(self._waiting):
            actor = self._start_actor()
            self._running[actor.prepare.remote()] = actor, None
            starting += 1

    def _take(self, ref: Any, actor: Any, number: int | None) -> None:
        try:
            ray.get(ref)
        except RayTaskError as error:
            # A store that answers late fails a shard once, and seldom again.
            if number is not None and isinstance(error.cause, SystemFailure):
                self._lose(actor, number, error.cause)
                return
            what = "an actor did not start" if number is None else f"shard {number} cannot be built"
            raise cause_of(error, what) from None
        except RayError as error:
            self._lose(actor, number, error)
            return
        if number is None:
            self._lost[None] = 0
        else:
            self._done += self._sizes[number]
        if self._waiting:
            following = self._waiting.popleft()
            self._running[actor.build.remote(following)] = actor, following
        else:
            ray.kill(actor)

    def _lose(self, actor: Any, number: int | None, error: Exception) -> None:
        """What was the actor's is another's."""
        ray.kill(actor)
        self._lost[number] += 1
        # A machine that dies takes all with it that start there.
        limit = self._max_retries if number is not None else (self._max_retries + 1) * self._wanted - 1
        if self._lost[number] > limit:
            what = "an actor did not start" if number is None else f"shard {number}: its actor was lost or failed"
            raise SystemFailure(f"{what}, {self._lost[number]} times; the last time: {error}") from error
        if number is not None:
            self._waiting.append(number)

    def _tell(self) -> None:
        if self._progress is None:
            return
        working = [actor for actor, number in self._running.values() if number is not None]
        asked = [actor.done.remote() for actor in working]
        answered = ray.wait(asked, num_returns=len(asked), timeout=TICK)[0] if asked else []
        done = self._done + sum(_numbers(answered))
        self._progress(Progress("building", "documents", done, sum(self._sizes)))


def _numbers(refs: Iterable[Any]) -> Iterator[int]:
    for ref in refs:
        try:
            yield ray.get(ref)
        except RayError:
            # The actor is lost, which the shard's own answer tells.
            continue


def cause_of(error: RayTaskError, what: str) -> BaseException:
    """What was raised on another machine, as if it was raised here."""
    cause = error.cause
    return cause if isinstance(cause, SecateurError) else SystemFailure(f"{what}: {error}")
