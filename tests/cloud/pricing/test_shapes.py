"""A cluster's machines, as people write them."""

from __future__ import annotations

import pytest

from verger.cloud.deploy.provider import Shape
from verger.cloud.pricing.shapes import parse_shape, shape_text
from verger.errors import SettingsError


def test_a_shape_is_a_number_of_machines() -> None:
    assert parse_shape("4xm5.xlarge") == Shape(4, "m5.xlarge", "m5.xlarge", None, True)


def test_it_may_have_room_to_grow_and_another_machine_that_leads() -> None:
    grown = parse_shape("2..8xn2-standard-4", "e2-standard-2", spot=False)
    assert grown == Shape(2, "n2-standard-4", "e2-standard-2", 8, False)


@pytest.mark.parametrize("text", ["4xm5.xlarge", "2..8xStandard_D4s_v5"])
def test_it_is_told_as_it_was_read(text: str) -> None:
    assert shape_text(parse_shape(text)) == text


@pytest.mark.parametrize(
    "text", ["m5.xlarge", "0xm5.xlarge", "8..2xm5.xlarge", "4x", "-1xm5.xlarge", "4 m5.xlarge"]
)
def test_any_other_word_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(SettingsError, match=r"shape = .* WORKERSxMACHINE \(4xm5\.xlarge\)"):
        parse_shape(text)
