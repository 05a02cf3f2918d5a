"""Full, read-only, slow and vanishing disks, and damaged lines of metrics."""

import pathlib
import shutil
from collections.abc import Iterator

from benchmarks.reliability import runs
from benchmarks.reliability.trial import (
  Ended,
  Place,
  Trial,
  check,
  check_explained,
  script,
)


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


_LONG = {"train__steps": 200, "train__checkpoint_every": 10}

# In a namespace of its own: $0 is the workdir, $KEPT where its disk is copied to.
_DISK = """mount -t tmpfs none "$0"; mkdir "$KEPT"; mount --bind "$0" "$KEPT"
  "$@" & program=$!
  while [ ! -d "$0/checkpoints/50" ]; do kill -0 $program || break; sleep 0.02; done
  {change}
  wait $program; code=$?; cp -r "$KEPT" "$KEPT.after"; exit $code"""
_CHANGES = {
  "read-only": 'mount --bind -o ro "$KEPT" "$0"',
  "gone": 'umount -l "$0"',
}


def changing(place: Place) -> Iterator[Trial]:
  """A disk that turns read-only or is unmounted in a training, then is back; slow."""
  whole = place.common / "long"

  def train(workdir: pathlib.Path, *before: str) -> Ended:
    words = runs.flags(place, workdir, **_LONG)
    return script(place, "train.py", *words, before=before)

  def reference() -> pathlib.Path:
    if not (whole / "checkpoints" / "200").exists():
      check(train(whole).status == 0, "cannot train")
    return whole

  for name, change in _CHANGES.items():

    def run(name=name, change=change) -> None:
      workdir, kept = place.work / name, place.work / f"{name}.kept"
      workdir.mkdir()
      commands = _DISK.format(change=change)
      inside = ["env", f"KEPT={kept}", *("unshare", "-rm", "sh", "-c", commands)]
      done = train(workdir, *inside, str(workdir))
      check_explained(done, str(workdir), quiet=False)
      # A line of metrics may be, which the resumed run writes again on the disk.
      check(not (workdir / "checkpoints").exists(), "saved beside the disk")
      shutil.rmtree(workdir)
      shutil.copytree(f"{kept}.after", workdir)
      steps = [int(p.name) for p in (workdir / "checkpoints").glob("[0-9]*[0-9]")]
      check(steps and max(steps) >= 50, f"lost checkpoints: {steps}")
      done = train(workdir)
      check(done.status == 0, f"does not resume: {done.last[:200]}")
      runs.check_same(workdir, reference())

    yield Trial(f"disk that is {name}, then back", run)

  def slow() -> None:
    calls = "trace=fsync,fdatasync,pwrite64,rename,renameat2,mkdir,unlink,unlinkat"
    late = "inject=fsync,fdatasync,pwrite64,rename,renameat2,mkdir,unlink,unlinkat"
    words = [
      "-f",
      "-qq",
      "-o",
      "/dev/null",
      "-e",
      calls,
      "-e",
      f"{late}:delay_enter=0.1s",
    ]
    done = train(place.work / "slow", "strace", *words)
    check(done.status == 0, f"ended with {done.status}: {done.last[:200]}")
    runs.check_same(place.work / "slow", reference())

  if shutil.which("strace"):
    yield Trial("disk that takes 0.1 s for each write, rename or removal", slow)


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
