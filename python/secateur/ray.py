"""Ray: a corpus too large for one machine becomes a set of shards. Needs ``pip install secateur[ray]``.

- `build_shards` builds the shards of a `secateur.ShardPlan` on the machines of a cluster, and uploads them.
- `serve_shards` has actors answer for the shards of a set, and gives the set that asks all of them.
- `EncodeBatches` encodes the rows of a dataset of Ray. `write_shards` writes such a dataset into shards.

>>> import ray
>>> _ = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
>>> plan = ShardPlan.create(tmp / "garden.set", mini_dataset, 3, encoder="default")
>>> build_shards(plan).finished.num_documents
63
>>> ShardSet.open(plan.path).search("pruning a rose", k=1)[0].id
'garden-01'
>>> build_shards(plan)[:2]
(0, 3)
>>> with serve_shards(plan, num_actors=2) as served:
...     served.search("pruning a rose", k=1)[0].id
'garden-01'
>>> ray.shutdown()
"""

from .ray_builds import BuildReport, build_shards
from .ray_data import EncodeBatches, write_shards
from .ray_serving import ServedShards, serve_shards

__all__ = ["BuildReport", "EncodeBatches", "ServedShards", "build_shards", "serve_shards", "write_shards"]
