import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import peers
import pytest
import torch
from peers import clock
from peers.clock import LONGEST_GAP_SECONDS, AwakeClock

from tonggan.errors import UserError


def test_a_gap_is_a_stop() -> None:
    moments = iter([0.0, 0.5, 0.8, 600.8, 601.0])
    clock = AwakeClock(now=lambda: next(moments), ticking=False)
    assert [clock.seconds() for _ in range(4)] == pytest.approx([0.5, 0.8, 0.8 + LONGEST_GAP_SECONDS, 1.0 + LONGEST_GAP_SECONDS])


def test_budgets_go_by_the_clock_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_chosen", "wall")
    monkeypatch.setattr(time, "process_time", lambda: 30.0 * torch.get_num_threads())
    clock.choose_clock("processor")
    assert clock.spent_seconds() == 30.0
    with pytest.raises(UserError, match="processor"):
        clock.choose_clock("processr")
    assert clock.spent_seconds() == 30.0


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system stops no processes")
def test_a_process_that_was_stopped_has_lost_no_time() -> None:
    program = (
        "import time; from peers.clock import awake_seconds as awake; first = awake(); print(flush=True); time.sleep(2.5); print(awake() - first)"
    )
    folder = str(Path(peers.__file__).parents[1])
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": folder})
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGSTOP)
    time.sleep(4)
    process.send_signal(signal.SIGCONT)
    assert float(process.communicate(timeout=60)[0]) < 0.3 + 2 * LONGEST_GAP_SECONDS + 0.5
