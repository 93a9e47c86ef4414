from __future__ import annotations

import pytest

from verger.serve.admission import Admission, OverloadedError


def test_requests_are_admitted_while_they_can_be_answered_in_time() -> None:
    admission = Admission(n_servers=2, deadline_s=1, photo_s=0.1)
    with admission.admit(14):
        with pytest.raises(OverloadedError), admission.admit(1):
            pass
        assert admission.n_photos == 14
    assert admission.n_photos == 0


def test_an_idle_service_admits_every_request() -> None:
    admission = Admission(n_servers=1, deadline_s=0.1, photo_s=10)
    with admission.admit(5), pytest.raises(OverloadedError) as refused, admission.admit(1):
        pass
    assert refused.value.retry_after_s >= 50


def test_the_estimate_follows_the_measured_times() -> None:
    admission = Admission(n_servers=1, deadline_s=1, photo_s=0.001)
    for _ in range(100):
        admission.record(0.5)
    assert admission.expected_s(2) == pytest.approx(1, rel=0.01)


def test_a_failed_request_leaves_the_queue() -> None:
    admission = Admission(n_servers=1, deadline_s=1, photo_s=0.1)
    with pytest.raises(ValueError, match="boom"), admission.admit(3):
        raise ValueError("boom")
    assert admission.n_photos == 0
