"""The packages have everyday names, so a stray folder or another distribution could stand in front of ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
FLOORS = ("backtest", "bot", "data", "risk", "signals", "strategies")


def test_each_package_is_ours_from_anywhere(tmp_path: Path) -> None:
    """A fresh interpreter in a neutral folder finds our packages and no others."""
    names = ", ".join(FLOORS)
    code = f"import json, {names}; print(json.dumps({{m.__name__: m.__file__ for m in ({names})}}))"
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"install the project first (pip install -e .): {done.stderr}"
    found = json.loads(done.stdout)
    strangers = {name: file for name, file in found.items() if Path(file).resolve().parent.parent != HOUSE}
    assert not strangers, f"these stand in front of ours; uninstall them or rename: {strangers}"
