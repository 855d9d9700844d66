"""One kind of call to Milvus without pymilvus's objects: a search, from arrays to arrays.

pymilvus makes Python objects of every hit and passes through five layers of decorators and interceptors: 1.3 ms of
processor time a search of 200 rows, where the call itself takes 0.6. The messages are pymilvus's own.
"""

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient
from pymilvus.client.types import PlaceholderType
from pymilvus.client.utils import check_status
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from backend.vectors import Found, Vectors

_BOUNDED_TIMESTAMP = 2  # what clients of Milvus send for «bounded»: the server puts its own clock less the bound


def direct_call(client: MilvusClient, token: str, method: str, request: Any, response: Any) -> Callable[..., Any]:
    """``method`` of Milvus over the connection that ``client`` holds, past the interceptors, which copy every call.

    Args:
        client: a connected client; the call ends with its connection.
        token: what the client shows, user:password or a key; empty where Milvus asks for none.
        method: its name.
        request: class of the message it takes.
        response: class of the message it gives.
    """
    call = client._get_connection()._channel.unary_unary(  # noqa: SLF001
        f"/milvus.proto.milvus.MilvusService/{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    metadata = [("dbname", client._config.db_name)]  # noqa: SLF001  the address may name a database
    if token:
        metadata.append(("authorization", base64.b64encode(token.encode()).decode()))
    return partial(call, metadata=metadata)


class SearchCall:
    """Searches through the connection that ``client`` holds. Safe to share between threads."""

    def __init__(self, client: MilvusClient, token: str) -> None:
        self._call = direct_call(client, token, "Search", milvus_pb2.SearchRequest, milvus_pb2.SearchResults)

    def __call__(
        self, name: str, vectors: Vectors, *, limit: int, expression: str, params: str, fresh: bool, timeout_s: float
    ) -> list[Found]:
        """Hits of each row of ``vectors`` ((n, d) float32), best first, at most ``limit`` each.

        Args:
            name: a collection, or an alias of one.
            vectors: one query a row.
            limit: most hits a query.
            expression: the filter in Milvus's language, or nothing.
            params: JSON object of the index's own parameters.
            fresh: whether every write that has returned must count.
            timeout_s: seconds the call may take.

        Raises:
            MilvusException: Milvus refused.
            grpc.RpcError: Milvus did not answer.
        """
        asked = {
            "topk": str(limit),
            "round_decimal": "-1",
            "metric_type": "IP",
            "anns_field": "vector",
            "params": params,
        }
        request = milvus_pb2.SearchRequest(
            collection_name=name,
            dsl=expression,
            dsl_type=common_pb2.DslType.BoolExprV1,
            placeholder_group=_queries(vectors),
            output_fields=["product"],  # without it everything comes back, vectors too
            search_params=[common_pb2.KeyValuePair(key=key, value=value) for key, value in asked.items()],
            nq=len(vectors),
            consistency_level=common_pb2.ConsistencyLevel.Strong if fresh else common_pb2.ConsistencyLevel.Bounded,
            guarantee_timestamp=0 if fresh else _BOUNDED_TIMESTAMP,
        )
        answer = self._call(request, timeout=timeout_s)
        check_status(answer.status)
        return _found(answer.results, len(vectors))


def _queries(vectors: Vectors) -> bytes:
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    value = common_pb2.PlaceholderValue(
        tag="$0", type=PlaceholderType.FloatVector, values=[row.tobytes() for row in rows]
    )
    group: bytes = common_pb2.PlaceholderGroup(placeholders=[value]).SerializeToString()
    return group


def _found(results: Any, queries: int) -> list[Found]:
    keys = np.array(results.ids.int_id.data, dtype=np.int64)
    scores = np.array(results.scores, dtype=np.float64)
    products = _products(results)
    if not len(keys) == len(scores) == len(products):
        raise ValueError(f"{len(keys)} keys, {len(scores)} scores, {len(products)} products: expected as many of each")
    ends = np.cumsum(list(results.topks)).tolist() if len(keys) else [0] * queries
    return [
        Found(keys[start:end], products[start:end], scores[start:end])
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def _products(results: Any) -> NDArray[np.int64]:
    for column in results.fields_data:
        if column.field_name == "product":
            return np.array(column.scalars.long_data.data, dtype=np.int64)
    return np.empty(0, dtype=np.int64)
