"""X's API version 2 as the feeds ask it, through tweepy's clients: rules, search, look-up, counts, compliance jobs.

Each call makes one request: nothing is tried again, nothing waits. tweepy's clients get a `Door` for their session
and no key; see `data.x_door`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from data.feed import FeedError
from data.x_door import Door, Reply, XError, problem_text
from data.x_posts import BARE_FIELDS, FIELDS
from data.x_rules import plan_rules

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_KEY: Final = "the door has it"
LOOKED_UP: Final = 100
RULES_AT_ONCE: Final = 25
RULE_PAGES_MAX: Final = 50


class XApi:
    """Requests of one account; close it when done.

    Parameters
    ----------
    door : Door
    authors : bool
        Posts come with their authors, which may cost more.
    """

    def __init__(self, door: Door, *, authors: bool = True) -> None:
        import aiohttp
        from tweepy.asynchronous import AsyncClient, AsyncStreamingClient

        self.door, self.fields = door, FIELDS if authors else BARE_FIELDS
        self._client = AsyncClient(NO_KEY, return_type=aiohttp.ClientResponse)
        self._rules = AsyncStreamingClient(NO_KEY, return_type=aiohttp.ClientResponse)
        self._client.session = self._rules.session = door

    async def close(self) -> None:
        """Hang up."""
        await self.door.close()

    async def set_rules(self, wanted: Iterable[str]) -> tuple[int, int]:
        """Make our rules of the filtered stream the wanted ones; those of others stay as they are.

        Returns
        -------
        tuple of int
            How many were added, and deleted. New ones come before old ones go.

        Raises
        ------
        FeedError
            Final when X doesn't understand a rule.
        """
        from tweepy import StreamRule

        plan = plan_rules(wanted, await self._present())
        for at in range(0, len(plan.add), RULES_AT_ONCE):
            rules = [StreamRule(value, tag) for value, tag in plan.add[at : at + RULES_AT_ONCE]]
            try:
                answer: Reply = await self._rules.add_rules(rules)
            except XError as error:
                raise XError(str(error), error.status, final=True) if error.status == 400 else error from None
            _check_added(answer)
        for at in range(0, len(plan.delete), RULES_AT_ONCE):
            await self._rules.delete_rules(list(plan.delete[at : at + RULES_AT_ONCE]))
        return len(plan.add), len(plan.delete)

    async def search(self, query: str, most: int, page: str, bounds: Mapping[str, Any]) -> Reply:
        """A page of recent search, the newest posts first.

        Parameters
        ----------
        most : int
            Posts of a page, 10 to 100.
        page : str
            `next_token` of the page before; empty for the first.
        bounds : mapping
            Of `since_id`, `until_id`, `start_time`, `end_time`.
        """
        token = {"next_token": page} if page else {}
        answer: Reply = await self._client.search_recent_tweets(
            query, max_results=most, **token, **bounds, **self.fields
        )
        return answer

    async def look_up(self, ids: Sequence[str], *, full: bool) -> Reply:
        """Posts by their identities, 100 at most; in full as search brings them, or without their authors."""
        answer: Reply = await self._client.get_tweets(list(ids), **(self.fields if full else BARE_FIELDS))
        return answer

    async def counts(self, query: str, page: str, bounds: Mapping[str, Any]) -> Reply:
        """How many posts there were in each hour of the last seven days; see `search`."""
        token = {"next_token": page} if page else {}
        if token:  # tweepy's method doesn't know pages of recent counts; X's schema does
            params = {"query": query, "granularity": "hour", **bounds, **token}
            paged: Reply = await self._client.request("GET", "/2/tweets/counts/recent", params=params)
            return paged
        answer: Reply = await self._client.get_recent_tweets_count(query, granularity="hour", **bounds)
        return answer

    async def create_job(self) -> Reply:
        """Begin a batch compliance job for posts."""
        answer: Reply = await self._client.create_compliance_job("tweets", name="tidegate")
        return answer

    async def job(self, identity: str) -> Reply:
        """How a batch compliance job stands."""
        answer: Reply = await self._client.get_compliance_job(identity)
        return answer

    async def _present(self) -> list[Mapping[str, Any]]:
        answer: Reply = await self._rules.get_rules()
        found: list[Mapping[str, Any]] = []
        for _ in range(RULE_PAGES_MAX):
            values = answer.values()
            rows, meta = values.get("data", []), values.get("meta")
            if not isinstance(rows, list) or not isinstance(meta, dict):
                raise FeedError(f"{answer.shown}: the answer is no list of rules")
            found += [row for row in rows if isinstance(row, dict)]
            page = meta.get("next_token")
            if not isinstance(page, str) or not page:
                return found
            params = {"pagination_token": page}
            answer = await self._rules.request("GET", "/2/tweets/search/stream/rules", params=params)
        raise FeedError(f"{answer.shown}: rules without end")


def next_page(values: Mapping[str, Any], shown: str, page: str) -> str:
    """`next_token` of an answer that has to have `meta`; empty at the last page. Raises FeedError."""
    meta = values.get("meta")
    if not isinstance(meta, dict):
        raise FeedError(f"{shown}: the answer has no 'meta'")
    token = meta.get("next_token")
    if token is None or token == "":
        return ""
    if not isinstance(token, str) or token == page:
        raise FeedError(f"{shown}: its pages have no end")
    return token


def _check_added(answer: Reply) -> None:
    """Raise for a rule that X hasn't taken; that it is there already is no fault."""
    errors = answer.values().get("errors")
    for error in errors if isinstance(errors, list) else []:
        title = str(error.get("title", "")) if isinstance(error, dict) else ""
        if title != "DuplicateRule":
            text = problem_text(error) or "a rule was refused"
            raise FeedError(f"{answer.shown}: X doesn't take a rule: {text}", final=True)
