import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch", reason="the opponents are PyTorch: make bench installs it")

from benchmarks.harness import collectives, machine, pictures, results, tables

PEAK = {"float32": {"flops": 1e9, "bytes": 1e9}}
DEVICE = {
  "name": "A CPU, 2 cores",
  "slug": "cpu-a-2-cores",
  "threads": {"jax": 2, "torch": 2},
  "versions": {"jax": "1", "torch": "2"},
}


def _entry(keypoints):
  seconds = dict.fromkeys(("min", "q1", "median", "q3", "max"), 0.5) | {"count": 3}
  side = {"variant": "", "seconds": seconds, "peak_bytes": keypoints * 2**20}
  ratio = dict.fromkeys(("min", "q1", "median", "q3", "max"), 0.25)
  return {
    "case": "inference",
    "problem": f"head, {keypoints} keypoints",
    "variables": {"part": "head", "keypoints": keypoints},
    "sides": {"ours": side, "PyTorch": side, "literal": {"skipped": "too large"}},
    "ratios": {"PyTorch": ratio},
    "floor": {"times": {"ours": 2.0, "PyTorch": 2.0}},
  }


def test_a_case_that_is_run_again_replaces_itself_alone(tmp_path):
  path = results.path_of(DEVICE, "small", tmp_path)
  assert path == tmp_path / "cpu-a-2-cores.json"
  by_size = {results.path_of(DEVICE, size) for size in ("small", "full")}
  assert {x.name for x in by_size} == {path.name} and len(by_size) == 2
  add = lambda case, entries, **more: results.add_case(
    path, case, "small", DEVICE, PEAK, entries, **more
  )
  add("mds", [_entry(1)])
  add("inference", [_entry(1)], error="CheckError: ours and PyTorch differ")
  content = add("inference", [_entry(11), _entry(100)])
  assert content == json.loads(path.read_text()) == results.load(path)
  assert content["cases"].keys() == {"mds", "inference"}
  case = content["cases"]["inference"]
  about = {"date", "commit", "versions", "load_average", "peak"}
  assert case.keys() == about | {"entries"}
  assert len(case["entries"]) == 2 and case["versions"] == DEVICE["versions"]
  assert re.fullmatch(r"[0-9a-f]{7,}\+?|\+?", case["commit"])


def test_tables_and_plots_show_every_side(tmp_path):
  path = tmp_path / "device.json"
  entries = [_entry(11), _entry(100)]
  entries.append({"problem": "parameters", "variables": {}, "values": {"SMD": 8}})
  content = results.add_case(path, "inference", "full", DEVICE, PEAK, entries)
  text = tables.markdown(content)
  assert "| head, 11 keypoints | ours | 500 ms (500 ms to 500 ms) |" in text
  assert "0.25 (0.25 to 0.25) | 100 MiB | 2.0 |" in text
  assert "not run: too large" in text and "SMD 8" in text
  written = pictures.draw(content, path)
  assert [x.name for x in written] == ["device_keypoints.png"]
  assert written[0].stat().st_size > 10_000


def test_the_machine_is_described():
  found = machine.description()
  assert re.fullmatch(r"[a-z0-9-]+", found["slug"])
  assert {"python", "jax", "jaxlib", "flax", "torch"} <= found["versions"].keys()
  assert machine._slug("cpu Intel(R) Xeon(R) Processor @ 2.20GHz") == "cpu-intel-xeon"


def test_all_reduces_are_counted_with_their_bytes():
  devices = np.array(jax.devices()[:4])
  mesh = jax.sharding.Mesh(devices, ("data",))
  spec = jax.sharding.PartitionSpec

  def both(x, y):
    # The second needs the first, so that no compiler can join them.
    total = jax.lax.psum(x, "data")
    return total, jax.lax.psum(jnp.sin(y.sum() * total), "data")

  mapped = jax.shard_map(
    both, mesh=mesh, in_specs=(spec("data"), spec("data")), out_specs=spec()
  )
  x, y = jnp.ones((4, 10)), jnp.ones((4, 3), jnp.bfloat16)
  program = jax.jit(mapped).lower(x, y).compile().as_text()
  found = collectives.summary(program)
  assert found["all_reduces"] == 2 and found["bytes"] == 80
  assert found["largest"] == [{"arrays": 1, "bytes": 40}] * 2


def test_tuples_of_arrays_are_one_all_reduce():
  hlo = (
    "  %a = (f32[2,3]{1,0}, /*index=1*/bf16[4]{0}, f32[]) all-reduce(%x, %y, %z), to"
    "\n  ROOT %g = f32[2]{0} get-tuple-element(%a), index=0"
    "\n  %s = f32[5]{0} all-reduce-start(%w)\n  %d = f32[5]{0} all-reduce-done(%s)"
  )
  found = collectives.all_reduces(hlo)
  assert found == [(3, 24 + 8 + 4), (1, 20)]
