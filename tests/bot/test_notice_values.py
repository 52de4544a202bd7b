"""What each place of a template takes, and values cut to fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import notice_values


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("thing1", "奈雪 8 元券"),
        ("thing1", "字" * 20),
        ("number2", "12"),
        ("number2", "3.5"),
        ("letter1", "AbC"),
        ("symbol1", "※※"),
        ("character_string3", "DD-2026/11#7"),
        ("time4", "2026年11月30日 20:30"),
        ("time4", "20:30~21:30"),
        ("date5", "2026-11-30"),
        ("date5", "2026-11-01 ~ 2026-11-30"),
        ("amount6", "¥8.00"),
        ("amount6", "128元"),
        ("phone_number7", "+86-0766-66888866"),
        ("car_number8", "粤A8Z888挂"),
        ("name9", "李兰"),
        ("name9", "Li Lan"),
        ("phrase10", "配送中"),
        ("keyword1", "旧模板的值没有限制，" * 10),
        ("first", "您好"),
    ],
)
def test_values_the_platform_takes(key: str, value: str) -> None:
    assert notice_values.problem(key, value) is None
    assert notice_values.fitted(key, value) == value


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("thing1", "字" * 21, "20 are allowed"),
        ("thing1", "  ", "is empty"),
        ("thing1", "两\n行", "line break"),
        ("number2", "十二", "a number"),
        ("letter1", "abc1", "letters only"),
        ("character_string3", "单号 7", "without spaces"),
        ("time4", "明天晚上", "a date or time"),
        ("date5", "2026-11-01~2026-11-02~2026-11-03", "a date or time"),
        ("amount6", "八元", "an amount"),
        ("amount6", "¥12345678901", "an amount"),
        ("phone_number7", "1" * 18, "17 are allowed"),
        ("car_number8", "粤A8Z888挂1", "8 are allowed"),
        ("name9", "李" * 11, "10 are allowed"),
        ("name9", "a" * 21, "20 letters"),
        ("phrase10", "正在配送中", None),
        ("phrase10", "正在配送途中", "5 are allowed"),
        ("phrase10", "配送ing", "Chinese characters only"),
    ],
)
def test_values_it_refuses_are_told_before(key: str, value: str, said: str | None) -> None:
    found = notice_values.problem(key, value)
    assert (found is None) == (said is None)
    if said is not None:
        assert found is not None and said in found and found.startswith(key)


@given(st.sampled_from(["thing1", "name2", "number3", "car_number4"]), st.text(min_size=1))
def test_a_cut_value_is_never_too_long(key: str, text: str) -> None:
    fitted = notice_values.fitted(key, text)
    assert notice_values.fitted(key, fitted) == fitted
    assert len(fitted) <= {"thing1": 20, "name2": 20, "number3": 32, "car_number4": 8}[key]
