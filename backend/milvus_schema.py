"""What a collection is made of on each engine, how far a search in it must look, and when its indexes are finished."""

from collections.abc import Iterable
from typing import Any

from pymilvus import CollectionSchema, DataType, MilvusClient
from pymilvus.milvus_client import IndexParams

from backend.vectors import MAX_TAGS

EXACT_ROWS = 4_000
"""A server scans a segment of fewer rows, which is exact. A larger one that is still written to is searched through a
rough index that misses most of what a filter lets through: at 512 dimensions from 4,992 rows, recall 0.2."""

_LEAST_EF, _MOST_EF, _LEAST_SHARE = 400, 32_768, 0.25


def schema(dim: int, *, lite: bool) -> CollectionSchema:
    """Fields of a collection of vectors of ``dim`` numbers."""
    fields = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    fields.add_field("key", DataType.INT64, is_primary=True)
    fields.add_field("product", DataType.INT64)
    fields.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    fields.add_field("in_stock", DataType.BOOL)
    fields.add_field("price", DataType.DOUBLE)
    if lite:
        fields.add_field("tags", DataType.VARCHAR, max_length=65_535)
    else:
        fields.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=MAX_TAGS)
    return fields


def index_params(*, lite: bool) -> IndexParams:
    """The index over the vectors."""
    index = MilvusClient.prepare_index_params()
    if lite:
        index.add_index("vector", index_type="FLAT", metric_type="IP")
    else:
        # with 32 neighbours instead of the usual 16 a tenth of 20,000 rows is searched with recall 0.994 instead of
        # 0.963; building it takes half as much time more
        index.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 32, "efConstruction": 200})
    return index


def search_params(limit: int, selectivity: float, *, lite: bool) -> dict[str, int]:
    """How far a search looks: an HNSW wants ``ef`` at least ``limit``, and more where a filter takes hits away.

    Below a share of some 0.07 a server scans what passes, which is exact, whatever is asked.
    """
    if lite:
        return {}
    wide = round(max(_LEAST_EF, 4 * limit) / min(max(selectivity, _LEAST_SHARE), 1.0))
    return {"ef": min(wide, _MOST_EF)}


def all_finished(stored: Iterable[Any], loaded: Iterable[Any]) -> bool:
    """Whether a server searches a collection through finished indexes only, given its segments stored and loaded."""
    # a segment may be loaded before its index is built: it is then searched as roughly as one still written to
    served = {segment.segment_id for segment in loaded if segment.index_name}
    # and one that is being sealed does not say yet how many rows it has
    return all(
        segment.segment_id in served or (segment.state.name == "Flushed" and segment.num_rows <= EXACT_ROWS)
        for segment in stored
        if segment.state.name != "Growing"
    )
