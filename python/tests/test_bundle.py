"""Failure bundles: written from an answer, replayed to the same bits."""

import json

import numpy as np
import pytest

import conediff


def kinked():
    """minimize 1/2 x^2 + q x subject to x >= 0; at q = 0 the bound is active without a multiplier."""
    return conediff.ConicLayer(np.eye(1), [[-1.0]], [conediff.Nonnegative(1)], on_error="nan")


def test_a_derivative_at_a_kink_is_replayed_with_equal_bits(tmp_path):
    solution = kinked().solve(q=np.zeros((2, 1)), b=np.zeros(1))
    solution.bundle(tmp_path / "vjp.json", 1, dx=[1.0])
    replay = conediff.replay(tmp_path / "vjp.json")
    assert replay.equal and replay.same_build and replay.differences == []
    assert "vjp" in str(replay)
    solution.bundle(tmp_path / "point.json", 0)
    assert conediff.replay(tmp_path / "point.json").equal


def test_a_failed_solve_is_replayed(tmp_path):
    layer = conediff.ConicLayer(np.eye(1), [[1.0], [-1.0]], [conediff.Nonnegative(2)], q=[1.0])
    with pytest.raises(conediff.errors.PrimalInfeasibleError) as caught:
        layer.solve(b=[[1.0, 0.0], [-1.0, -1.0]])
    caught.value.solution.bundle(tmp_path / "failed.json", 1)
    assert conediff.replay(tmp_path / "failed.json").equal
    assert json.loads((tmp_path / "failed.json").read_text())["settings"]


def test_refused_data_have_nothing_to_replay(tmp_path):
    solution = kinked().solve(q=[np.nan], b=np.zeros(1))
    with pytest.raises(conediff.Error):
        solution.bundle(tmp_path / "refused.json")
    assert not (tmp_path / "refused.json").exists()


def test_a_changed_number_is_a_difference(tmp_path):
    path = tmp_path / "changed.json"
    kinked().solve(q=[0.5], b=np.zeros(1)).bundle(path, dz=[1.0])
    bundle = json.loads(path.read_text())
    bundle["program"]["q"] = [0.25]
    path.write_text(json.dumps(bundle))
    replay = conediff.replay(path)
    assert not replay.equal and replay.differences


def test_files_that_are_no_bundles_are_errors(tmp_path):
    path = tmp_path / "none.json"
    for text in ["", "{}", "[1, 2]", '{"format": "conediff bundle"}']:
        path.write_text(text)
        with pytest.raises(conediff.Error):
            conediff.replay(path)
    with pytest.raises(conediff.Error):
        conediff.replay(tmp_path / "missing.json")
    solution = kinked().solve(q=[0.5], b=np.zeros(1))
    with pytest.raises(conediff.errors.DimensionError):
        solution.bundle(path, dx=[1.0, 2.0])
    with pytest.raises(conediff.Error):
        solution.bundle(tmp_path / "no" / "folder.json", dx=[1.0])
