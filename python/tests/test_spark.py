"""Spark builds the shards of a set, as the guide says. Needs pyspark and Java; local mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyspark", reason="pyspark is not here: pip install pyspark")
pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not here: pip install pyarrow")

from pyspark.sql import SparkSession

from secateur import BeirFolder, Database, ShardPlan, ShardSet
from secateur.shard_store import ShardBuilder, finish

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_recipe_of_the_guide(tmp_path: Path, mini: BeirFolder) -> None:
    store, scratch = str(tmp_path / "store.set"), str(tmp_path / "scratch")

    def build(numbers: Iterable[int]) -> None:
        builder = ShardBuilder(store, scratch=scratch)
        for number in numbers:
            builder.build(number)

    def build_rows(batches: Iterable[Any]) -> Iterator[Any]:
        builder = ShardBuilder(store, scratch=scratch)
        for batch in batches:
            numbers = batch.column("id").to_pylist()
            built = [builder.build(number) for number in numbers]
            yield pyarrow.RecordBatch.from_pydict({"shard": numbers, "built": built})

    plan = ShardPlan.create(tmp_path / "plan.set", mini.path, 4, encoder="default")
    ShardBuilder(store, plan=plan, scratch=scratch)
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        spark.sparkContext.parallelize(range(2), 2).foreachPartition(build)
        rows = spark.range(4, numPartitions=4).mapInArrow(build_rows, "shard long, built boolean").collect()
    finally:
        spark.stop()
    assert sorted((row.shard, row.built) for row in rows) == [(0, False), (1, False), (2, True), (3, True)]
    assert finish(store).num_documents == 63
    whole = Database.build(tmp_path / "whole.db", mini.path, encoder="default")
    assert ShardSet.open(store).search("pruning a rose") == whole.search("pruning a rose")
