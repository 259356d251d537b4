"""An embedded retrieval database whose text encoder can be pruned.

>>> db = Database.create(tmp / "start.db", encoder="default")
>>> with db:
...     db.add([{"id": "roses", "text": "Roses are pruned in late winter."}, {"id": "bread", "text": "Bread rises."}])
AddReport(num_added=2, num_replaced=0)
>>> db.search("when to cut rose bushes", k=1)[0].id
'roses'

`Database` keeps and finds documents. `ShardPlan` and `ShardSet` are for a corpus that is too large for one database. `Encoder` makes vectors, `CrossEncoder` scores pairs. `evaluate` and `compare` measure
answers, `bench` measures encoders side by side, and `effir` and `train` make encoders smaller and better. `secateur.datasets`
reads the files of the field.

The modules `secateur.mteb`, `secateur.langchain`, `secateur.llama_index`, `secateur.haystack` and `secateur.ray` need the
packages of these names: ``pip install secateur[langchain]``, say.
"""

import numpy  # noqa: F401  Here, since the native module panics where it is missing.

from ._native import __version__, num_threads, set_num_threads
from .benches import BenchReport, bench
from .comparison import Comparison, compare
from .cross_encoder import CrossEncoder
from .database import Database
from .datasets import BeirFolder
from .documents import Document
from .encoder import Encoder
from .errors import DatabaseError, InputError, SecateurError, SystemFailure, UsageError
from .evaluation import Evaluation, evaluate
from .pipeline import EffirReport, TrainReport, effir, inspect, train
from .progress import Progress
from .results import AddReport, CompactReport, Explanation, Hit, Place, Recall, RecallCurve, VerifyReport
from .shard_plans import BuiltShard, PlannedShard, SetReport, ShardPlan, ShardStatus
from .shard_sets import MissingShard, ShardSet

__all__ = [
    "AddReport",
    "BeirFolder",
    "BenchReport",
    "BuiltShard",
    "CompactReport",
    "Comparison",
    "CrossEncoder",
    "Database",
    "DatabaseError",
    "Document",
    "EffirReport",
    "Encoder",
    "Evaluation",
    "Explanation",
    "Hit",
    "InputError",
    "MissingShard",
    "Place",
    "PlannedShard",
    "Progress",
    "Recall",
    "RecallCurve",
    "SecateurError",
    "SetReport",
    "ShardPlan",
    "ShardSet",
    "ShardStatus",
    "SystemFailure",
    "TrainReport",
    "UsageError",
    "VerifyReport",
    "__version__",
    "bench",
    "compare",
    "effir",
    "evaluate",
    "inspect",
    "num_threads",
    "set_num_threads",
    "train",
]
