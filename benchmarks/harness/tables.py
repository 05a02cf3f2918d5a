"""Results as Markdown tables, to be pasted into docs/performance.md."""

from collections.abc import Iterator, Mapping
from typing import Any

_HEADER = ("problem", "side", "median (quartiles)", "first / this", "memory", "floor")


def markdown(content: Mapping[str, Any]) -> str:
  """Formats all cases; a row for every side of every problem."""
  device = content["device"]
  lines = [f"{device['name']}, {device['threads']['torch']} threads", ""]
  for name, case in content["cases"].items():
    versions = ", ".join(f"{k} {v}" for k, v in case["versions"].items())
    lines += [
      f"### {name}",
      "",
      f"{case['date']}, commit {case['commit']}; {versions};",
    ]
    lines.append(f"load average {case['load_average']:.1f}.")
    for precision, peak in case["peak"].items():
      lines.append(
        f"Peak in {precision}: {peak['flops'] / 1e9:,.0f} GFLOP/s, "
        f"{peak['bytes'] / 1e9:,.1f} GB/s."
      )
    if "error" in case:
      lines.append(f"**Failed: {case['error']}**")
    timed = [entry for entry in case["entries"] if "values" not in entry]
    if timed:
      lines += ["", *_table(_HEADER, (row for x in timed for row in _rows(x)))]
    others = [entry for entry in case["entries"] if "values" in entry]
    if others:
      rows = ((x["problem"], values(x["values"])) for x in others)
      lines += ["", *_table(("problem", "values"), rows)]
    lines.append("")
  return "\n".join(lines)


def seconds(value: float) -> str:
  """Formats a duration with its unit."""
  if value >= 1:
    return f"{value:.2f} s"
  return f"{1e3 * value:.3g} ms"


def size(value: float) -> str:
  """Formats bytes with their unit."""
  return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def why_not(found: Mapping[str, Any]) -> str:
  """Says why a problem or a side has no times."""
  titles = {"error": "failed", "failed": "failed", "skipped": "not run"}
  titles["left_out"] = "not measured yet"
  return "; ".join(f"{x}: {found[key]}" for key, x in titles.items() if key in found)


def _rows(entry: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
  if "sides" not in entry:
    yield entry["problem"], "", why_not(entry), "", "", ""
  for name, side in entry.get("sides", {}).items():
    if "seconds" not in side:
      yield entry["problem"], name, why_not(side), "", "", ""
      continue
    time = side["seconds"]
    label = f"{name} ({side['variant']})" if side["variant"] else name
    spread = (
      f"{seconds(time['median'])} ({seconds(time['q1'])} to {seconds(time['q3'])})"
    )
    if "items_per_second" in side:
      spread += f", {side['items_per_second']:.3g}/s"
    ratio = entry["ratios"].get(name)
    shown = (
      f"{ratio['median']:.2f} ({ratio['q1']:.2f} to {ratio['q3']:.2f})" if ratio else ""
    )
    memory = (
      size(side["peak_bytes"]) if "peak_bytes" in side else side.get("memory_error", "")
    )
    floor = entry.get("floor", {}).get("times", {}).get(name)
    yield (
      entry["problem"],
      label,
      spread,
      shown,
      memory,
      f"{floor:.1f}" if floor else "",
    )


def values(found: Any) -> str:
  """Formats whatever a case found; of a summary its median."""
  if isinstance(found, Mapping):
    if "median" in found:
      return seconds(found["median"])
    return "; ".join(f"{key} {values(value)}" for key, value in found.items())
  if isinstance(found, list):
    return ", ".join(f"({values(value)})" for value in found)
  return f"{found:,.4g}" if isinstance(found, float) else str(found)


def _table(header: tuple[str, ...], rows: Any) -> list[str]:
  lines = [header, ("---",) * len(header), *rows]
  return ["| " + " | ".join(line) + " |" for line in lines]
