"""Every pair of statuses is either allowed or refused with a sentence."""

import itertools

import pytest

from bot.campaigns import status
from bot.errors import Refused

CAMPAIGN_PAIRS = list(itertools.permutations(status.CAMPAIGN_STATUSES, 2))
RUN_PAIRS = list(itertools.permutations(status.RUN_STATUSES, 2))


@pytest.mark.parametrize(("old", "new"), CAMPAIGN_PAIRS)
def test_a_campaign_goes_on_or_is_refused_in_chinese_and_english(old: str, new: str) -> None:
    if (old, new) in status.CAMPAIGN_STEPS:
        status.check_campaign(old, new)
        return
    with pytest.raises(Refused) as refused:
        status.check_campaign(old, new)
    assert "(" in str(refused.value)
    assert "→" not in str(refused.value)


@pytest.mark.parametrize(("old", "new"), RUN_PAIRS)
def test_a_run_goes_on_or_is_refused_in_chinese_and_english(old: str, new: str) -> None:
    if (old, new) in status.RUN_STEPS:
        status.check_run(old, new)
        return
    with pytest.raises(Refused) as refused:
        status.check_run(old, new)
    assert "→" not in str(refused.value)


@pytest.mark.parametrize("name", status.RUN_STATUSES)
def test_the_same_status_again_is_no_change(name: str) -> None:
    status.check_run(name, name)


@pytest.mark.parametrize("old", status.OPEN_RUNS)
def test_every_open_run_can_be_cancelled(old: str) -> None:
    status.check_run(old, "cancelled")


@pytest.mark.parametrize("word", status.RUN_REASONS)
@pytest.mark.parametrize("locale", ["zh_Hans_CN", "en_US"])
def test_every_reason_has_a_sentence(word: str, locale: str) -> None:
    assert status.explain(word, locale) != word
    assert status.explain(f"{word}: 6000 > 5000", locale).endswith("(6000 > 5000)")


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    assert status.explain("whatever") == "whatever"
    assert status.explain(None) == ""


def test_every_block_has_a_sentence() -> None:
    assert set(status.RUN_REASONS) >= status.BLOCKS
