"""Imports run down the floors of docs/architecture.md, never up."""

import ast
import pathlib
import re

import grimp
import pytest

import fskd_jax

FLOORS = (
  {"__main__"},
  {"cli"},
  {"demo", "analysis"},
  {"own_labels"},
  {"experiment"},
  {"prediction"},
  {"few_shot", "pose"},
  {"training"},
  {"interop", "data", "pictures"},
  {"models", "heatmaps", "metrics", "device", "tracking"},
  {"episode", "buckets"},
  {"config", "geometry", "files", "messages"},
)
"""From the roof to the ground."""

PURE = (
  "models",
  "heatmaps",
  "metrics",
  "few_shot.step",
  "few_shot.losses",
  "few_shot.negatives",
  "pose.step",
  "training.state",
)
"""What computes: pure functions of arrays, usable without the engine."""

HOMES = {
  "orbax": {"training.checkpoint_files"},
  "tensorflow": {"data.pipeline", "data.builders"},
  "tensorflow_datasets": {"data.builders"},
  "grain": {"data.grain_pipeline"},
}
"""The only modules that may import a library."""

WRITERS = {
  "files": "the door",
  "training.writer": "events, in TensorBoard's own framing",
  "prediction.videos": "a container of PyAV",
  "training.checkpoint_files": "orbax's own format",
  "interop.stablehlo": "an archive, whose arrays are saved to memory",
  "interop.published.download": "parts, which become the file when its digest is right",
  "interop.weights": "PyTorch's own format",
  "data.game.archive": "an archive, which is only read",
  "data.labels.deeplabcut": "a table of the csv module",
}
"""The only modules that may call a function of `WRITES`, and why."""

WRITES = {
  "write_text", "write_bytes", "savefig", "save", "savez", "savez_compressed", "dump",
  "ZipFile", "RecordWriter", "imsave", "tofile",
}  # fmt: skip

DOORS = {"files", "checkpoints", "self._checkpoints"}
"""The module, and a `CheckpointStore`."""

SOURCES = sorted(pathlib.Path(fskd_jax.__path__[0]).rglob("*.py"))


def _module(path: pathlib.Path) -> str:
  return ".".join(path.relative_to(SOURCES[0].parent).with_suffix("").parts)


@pytest.fixture(scope="module")
def graph():
  return grimp.build_graph("fskd_jax", include_external_packages=True, cache_dir=None)


def test_imports_run_down(graph):
  rooms = {m.split(".")[1] for m in graph.modules if m.startswith("fskd_jax.")}
  assert rooms == set().union(*FLOORS)  # a new room or loose module needs a floor
  wrong = graph.find_illegal_dependencies_for_layers(FLOORS, {"fskd_jax"})
  assert not wrong, [f"{d.importer} -> {d.imported}" for d in wrong]


def test_few_modules_stand_loose():
  loose = [p.stem for p in SOURCES[0].parent.glob("*.py") if p.stem[0] != "_"]
  assert sorted(loose) == ["episode", "experiment", "files", "geometry", "messages"]


def test_rooms_of_a_room_import_each_other_in_one_direction(graph):
  for room in {m for m in graph.modules if m.startswith("fskd_jax")}:
    children = graph.find_children(room)
    edges = {
      (a, b)
      for a in children
      for b in children
      if a != b
      and graph.find_shortest_chains(importer=a, imported=b, as_packages=True)
      and graph.find_shortest_chains(importer=b, imported=a, as_packages=True)
    }
    assert not edges, sorted(edges)


@pytest.mark.parametrize("room", PURE)
@pytest.mark.parametrize("library", ("tensorflow", "absl", "orbax"))
def test_what_computes_stands_on_arrays_alone(graph, room, library):
  if library not in graph.modules:
    pytest.fail(f"nothing imports {library}: this test looks for the wrong name")
  chain = graph.find_shortest_chain(f"fskd_jax.{room}", library)
  assert chain is None, chain


def _writes(node: ast.AST) -> bool:
  """Returns whether a node is a call that writes a file past `fskd_jax.files`."""
  if not isinstance(node, ast.Call):
    return False
  if isinstance(node.func, ast.Attribute):
    name, owner = node.func.attr, ast.unparse(node.func.value)
  else:
    name, owner = ast.unparse(node.func), ""
  if name == "open":
    words = [*node.args, *(k.value for k in node.keywords)]
    texts = [x.value for x in words if isinstance(x, ast.Constant)]
    return any(re.fullmatch("r?[wax][bt+]*", str(text)) for text in texts)
  return bool(owner) and name in WRITES and owner not in DOORS


@pytest.mark.slow
def test_files_are_written_through_one_door():
  found = {p for p in SOURCES if any(map(_writes, ast.walk(ast.parse(p.read_text()))))}
  assert {_module(path) for path in found} == {*WRITERS}


@pytest.mark.slow
def test_libraries_are_imported_at_home_only():
  found = {library: set() for library in HOMES}
  for path in SOURCES:
    module = _module(path)
    for node in ast.walk(ast.parse(path.read_text())):
      names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
      names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
      for library in HOMES:
        if any(name.split(".")[0] == library for name in names):
          found[library].add(module)
  for library, homes in HOMES.items():
    lost = {m for m in found[library] if not m.startswith(tuple(homes))}
    assert not lost and found[library], (library, lost)
