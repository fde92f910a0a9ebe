"""Two processes, as torchrun starts them, against one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch

from model import checkpoint as checkpoints
from tests.training.toy import make_data_set
from training.batches import count_steps, plan
from training.config import SHIPPED
from training.distributed import Processes

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data_set(tmp_path_factory.mktemp("data"), train=18)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny`` without the phase that draws captions, in which each process has luck of its own."""
    text = (SHIPPED / "tiny.toml").read_text()
    head, *phases = text.split("[[phases]]")
    path = tmp_path_factory.mktemp("config") / "two.toml"
    deep = phases[1].replace("encoder_stages = 9", "encoder_stages = 3")
    path.write_text("[[phases]]".join([head, phases[0], deep]))
    return path


def run(program: list[str], config: Path, data: Path, output: Path) -> list[dict]:
    """Epochs of a run in processes of their own, by its log."""
    arguments = [str(config), "--data", str(data), "--output", str(output), "--device", "cpu"]
    ended = subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": ""},  # without Java, whose METEOR takes seconds to start
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("tiny on ") == 1, "one process speaks for all"
    lines = (output / "run" / "log.jsonl").read_text().splitlines()
    return [msgspec.json.decode(line) for line in lines]


@pytest.mark.timeout(600)
def test_two_processes_learn_what_one_does(config: Path, data: Path, tmp_path: Path) -> None:
    one = run(["-m", "training.train"], config, data, tmp_path / "one")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = run([*torchrun, "-m", "training.train"], config, data, tmp_path / "two")
    assert len(one) == 3
    for alone, together in zip(one, two, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], abs=2e-3)
    first, second = (checkpoints.load(tmp_path / name).network.state_dict() for name in ("one", "two"))
    for name, tensor in first.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(second[name], tensor, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("passes", [1, 2])
def test_processes_share_out_each_picture_once(count: int, passes: int) -> None:
    plans = [
        plan(20, 6, passes, Processes(rank, count), torch.Generator().manual_seed(0)) for rank in range(count)
    ]
    for batches in zip(*plans, strict=True):
        rows = batches[0].rows
        assert all(batch.rows == rows for batch in batches)
        shared = [row for batch in batches for part in batch.parts for row in part]
        assert sorted(shared) == sorted(rows)
        assert all(part for batch in batches for part in batch.parts), "nobody stands idle"
        together = [sum(map(len, parts)) for parts in zip(*(batch.parts for batch in batches), strict=True)]
        assert min(together) >= 2, "BatchNorm cannot learn from one"
    whole = [row for batch in plans[0] for row in batch.rows]
    assert len(set(whole)) == len(whole) >= 18


@pytest.mark.parametrize(
    ("pictures", "passes", "count", "steps"),
    [(17, 1, 1, 2), (18, 1, 1, 3), (19, 2, 1, 2), (20, 2, 1, 3), (19, 1, 4, 2), (20, 1, 4, 3), (16, 2, 4, 2)],
)
def test_a_last_batch_that_cannot_be_shared_out_is_left_out(
    pictures: int, passes: int, count: int, steps: int
) -> None:
    assert count_steps(pictures, 8, passes, Processes(0, count)) == steps
    assert len(plan(pictures, 8, passes, Processes(0, count), torch.Generator())) == steps


def test_an_error_is_one_line_in_a_process_of_its_own_too(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "training.train", "nowhere", "--output", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("captioner: nowhere is neither a file nor one of the configurations ")
    assert ended.stderr.count("\n") == 1


NORM = """
import sys, torch
from torch import nn
from training.distributed import SharedBatchNorm, processes

with processes("cpu") as (me, _):
    torch.manual_seed(0)
    vectors, target = torch.randn(7, 4), torch.randn(7, 4)
    norm = nn.BatchNorm1d(4, momentum=0.1)
    nn.init.uniform_(norm.weight), nn.init.uniform_(norm.bias)
    shared = SharedBatchNorm.of(norm)
    rows = me.share(list(range(7)))
    whole = vectors.clone().requires_grad_()
    part = vectors[rows].clone().requires_grad_()
    for module, x, y in ((norm, whole, target), (shared, part, target[rows])):
        module.train()
        (module(x) * y).sum().backward()
    torch.testing.assert_close(shared(part), norm(whole)[rows])
    torch.testing.assert_close(part.grad, whole.grad[rows])
    torch.testing.assert_close(shared.running_mean, norm.running_mean)
    torch.testing.assert_close(shared.running_var, norm.running_var)
    shared.eval(), norm.eval()
    torch.testing.assert_close(shared(part), norm(whole)[rows])
"""


@pytest.mark.timeout(600)
def test_shared_batch_norm_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    (tmp_path / "norm.py").write_text(NORM)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [sys.executable, *torchrun, str(tmp_path / "norm.py")],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr
