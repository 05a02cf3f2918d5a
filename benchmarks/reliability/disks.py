"""Full and read-only disks, and damaged lines of metrics."""

import shutil
from collections.abc import Iterator

from benchmarks.reliability import runs
from benchmarks.reliability.trial import Place, Trial, check, check_explained, script


def full(place: Place) -> Iterator[Trial]:
  """A disk that is full at the first checkpoints, or for metrics.jsonl; then room."""

  def run() -> None:
    workdir = place.work / "disk"
    kept = place.work / "kept"
    workdir.mkdir()
    commands = f"""mount -t tmpfs -o size=150k none {workdir}
      "$@"; code=$?
      cp -r {workdir} {kept}; exit $code"""
    before = ["unshare", "-rm", "sh", "-c", commands, "sh"]
    words = runs.flags(place, workdir)
    done = script(place, "train.py", *words, before=before)
    check_explained(done, "disk full", "space left", quiet=False)
    shutil.rmtree(workdir)
    shutil.copytree(kept, workdir)
    done = script(place, "train.py", *runs.flags(place, workdir))
    check(done.status == 0, f"does not resume with room: {done.last[:200]}")
    runs.check_same(workdir, runs.trained(place))

  yield Trial("disk of 150 kB, then room", run)

  def metrics() -> None:
    workdir = place.work / "metrics"
    workdir.mkdir()
    (workdir / "metrics.jsonl").symlink_to("/dev/full")
    done = script(place, "train.py", *runs.flags(place, workdir))
    check_explained(done, "metrics.jsonl", "space left", "/dev/full", quiet=False)

  yield Trial("metrics.jsonl on a full device", metrics)


def read_only(place: Place) -> Iterator[Trial]:
  """A workdir that cannot be made or written."""
  occupied = place.work / "file"
  occupied.write_text("no folder")
  for name, workdir in (("/sys", "/sys/fskd"), ("below a file", occupied / "run")):

    def run(workdir=workdir) -> None:
      done = script(place, "train.py", *runs.flags(place, workdir))
      check_explained(done, str(workdir), "workdir")

    yield Trial(name, run)


def damaged_lines(place: Place) -> Iterator[Trial]:
  """metrics.jsonl with a broken line: a resume must cut it, and end rightly."""
  damages = {
    "bytes that are no UTF-8": b"\xff\xfe\x00\n",
    "null": b"null\n",
    "half a line": b'{"step": 12, "train/lo',
    "a list": b"[1, 2]\n",
    "no step": b'{"loss": 1}\n',
    "text for a step": b'{"step": "x"}\n',
  }
  for name, damage in list(damages.items())[: None if place.is_full else 2]:

    def run(name=name, damage=damage) -> None:
      workdir = place.work / name.replace(" ", "_")
      shutil.copytree(runs.trained(place), workdir)
      shutil.rmtree(workdir / "checkpoints" / str(runs.STEPS))
      with (workdir / "metrics.jsonl").open("ab") as file:
        file.write(damage)
      done = script(place, "train.py", *runs.flags(place, workdir))
      check(done.status == 0, f"cannot resume: {done.last[:200]}")
      runs.check_same(workdir, runs.trained(place))

    yield Trial(name, run)
