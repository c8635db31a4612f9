"""The search attributes by which Runs are found in Temporal, and their registration on a server.

The workflow imports the keys: nothing but `temporalio.common` may be imported at the top.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from temporalio.common import SearchAttributeIndexedValueType, SearchAttributeKey

if TYPE_CHECKING:
    from temporalio.client import Client

RUN_STATE = SearchAttributeKey.for_keyword("RunState")
RUN_PROJECT = SearchAttributeKey.for_keyword("RunProject")
RUN_TIER = SearchAttributeKey.for_keyword("RunTier")
RUN_OWNER = SearchAttributeKey.for_keyword("RunOwner")
RUN_CAUSE = SearchAttributeKey.for_keyword("RunCause")
RUN_PRIORITY = SearchAttributeKey.for_int("RunPriority")
RUN_TAGS = SearchAttributeKey.for_keyword_list("RunTags")

ALL: tuple[SearchAttributeKey[Any], ...] = (
    RUN_STATE,
    RUN_PROJECT,
    RUN_TIER,
    RUN_OWNER,
    RUN_CAUSE,
    RUN_PRIORITY,
    RUN_TAGS,
)

TYPE_NAMES = {
    SearchAttributeIndexedValueType.KEYWORD: "Keyword",
    SearchAttributeIndexedValueType.INT: "Int",
    SearchAttributeIndexedValueType.KEYWORD_LIST: "KeywordList",
}
"""What Temporal's own CLI calls the types."""

VISIBLE_WITHIN = 30.0
"""Seconds until a server that caches its search attributes shows the new ones."""


class SearchAttributeProblem(Exception):
    """Search attributes that cannot be registered or read; the message says why and what to do."""


async def missing(client: "Client") -> list[str]:
    """The names of those that are not registered in the client's namespace."""
    registered = await _registered(client)
    for key in ALL:
        kind = registered.get(key.name, int(key.indexed_value_type))
        if kind != int(key.indexed_value_type):
            raise SearchAttributeProblem(
                f"the search attribute {key.name} exists with another type than "
                f"{TYPE_NAMES[key.indexed_value_type]}: remove it with "
                f"`temporal operator search-attribute remove --name {key.name}`, then `temporal-runs setup`"
            )
    return [key.name for key in ALL if key.name not in registered]


async def require(client: "Client") -> None:
    """Raises SearchAttributeProblem where a Run could not begin for want of one."""
    if lacking := await missing(client):
        raise SearchAttributeProblem(
            f"the Temporal server lacks the search attributes {', '.join(lacking)}: "
            "register them with `temporal-runs setup`"
        )


async def register(client: "Client") -> list[str]:
    """Registers those that are missing; gives their names once the server shows them. Safe to repeat."""
    from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
    from temporalio.service import RPCError, RPCStatusCode

    added = await missing(client)
    if not added:
        return []
    request = AddSearchAttributesRequest(
        namespace=client.namespace,
        search_attributes={key.name: int(key.indexed_value_type) for key in ALL if key.name in added},  # type: ignore[arg-type]
    )
    try:
        await client.operator_service.add_search_attributes(request, retry=True)
    except RPCError as error:
        if error.status != RPCStatusCode.ALREADY_EXISTS:
            raise SearchAttributeProblem(
                f"the server does not let us register search attributes ({error.message}): "
                f"have an operator add {', '.join(added)}"
            ) from error
    async with asyncio.timeout(VISIBLE_WITHIN):
        while await missing(client):  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.2)
    return added


async def _registered(client: "Client") -> dict[str, int]:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.service import RPCError

    try:
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), retry=True
        )
    except RPCError as error:
        raise SearchAttributeProblem(
            f"the search attributes of namespace {client.namespace} cannot be read: {error.message}"
        ) from error
    return {name: int(kind) for name, kind in answer.custom_attributes.items()}
