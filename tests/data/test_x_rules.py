"""Rules for X: nothing is left out, none is too long, and nobody else's is touched."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.x_rules import Wish, is_ours, plan_rules, tag_of

WORDS = st.from_regex(r"[a-z]{1,12}( [a-z]{1,12})?", fullmatch=True)


@given(
    st.lists(st.from_regex(r"[A-Z]{2,6}", fullmatch=True), max_size=40),
    st.lists(WORDS, max_size=40),
    st.lists(st.from_regex(r"[a-z0-9_]{1,15}", fullmatch=True), max_size=60),
    st.integers(64, 1024),
)
def test_all_is_asked_for_within_the_length(tags: list[str], names: list[str], accounts: list[str], most: int) -> None:
    """Each alternative stands in exactly one rule, in its order; the same wish gives the same rules."""
    wish = Wish(tags, names, accounts)
    if not tags and not names and not accounts:
        with pytest.raises(InputError, match="what to follow"):
            wish.rules(most)
        return
    rules = wish.rules(most)
    assert rules == wish.rules(most) and all(len(rule) <= most for rule in rules)
    found = [part for rule in rules for part in rule[1 : rule.index(")")].split(" OR ")]
    wanted = [f"${tag}" for tag in tags] + [f'"{name}"' for name in names] + [f"from:{name}" for name in accounts]
    assert found == list(dict.fromkeys(wanted))
    for rule in rules:
        tail = rule[rule.index(")") + 1 :]
        assert tail == (" -is:retweet" if "from:" in rule else " lang:en -is:retweet")


def test_an_operator_among_the_names_is_only_text() -> None:
    assert Wish(names=("-is:retweet from:x OR",), language="", retweets=True).rules(100) == [
        '("-is:retweet from:x OR")'
    ]


def test_what_is_no_cashtag_for_x_is_asked_for_as_a_word() -> None:
    rules = Wish(cashtags=("btc", "$eth", "1INCH", "BRK.B", "1000PEPE"), language="").rules(200)
    assert rules == ['($BTC OR $ETH OR "1INCH" OR $BRK.B OR "1000PEPE") -is:retweet']


RULE = st.fixed_dictionaries(
    {"id": st.integers(1, 99).map(str), "value": WORDS},
    optional={"tag": st.one_of(WORDS, WORDS.map(tag_of), st.none())},
)


@given(st.lists(WORDS, max_size=8), st.lists(RULE, max_size=12, unique_by=lambda rule: rule["id"]))
def test_a_plan_leads_to_what_is_wanted_and_touches_nobody(wanted: list[str], present: list[dict[str, Any]]) -> None:
    """Carried out it leaves all foreign rules and ours as wanted; a second plan has nothing to do."""
    plan = plan_rules(wanted, present)
    left = [rule for rule in present if rule["id"] not in plan.delete]
    assert [rule for rule in present if not is_ours(rule.get("tag"))] == [
        rule for rule in left if not is_ours(rule.get("tag"))
    ]
    then = left + [{"id": f"n{at}", "value": value, "tag": tag} for at, (value, tag) in enumerate(plan.add)]
    assert sorted(rule["tag"] for rule in then if is_ours(rule.get("tag"))) == sorted(
        {tag_of(value) for value in wanted}
    )
    again = plan_rules(wanted, then)
    assert (again.add, again.delete) == ((), ())
