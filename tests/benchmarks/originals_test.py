"""Labels as their owners published them, against a plain second reading."""

import pytest
from conftest import SHARED

from benchmarks.reliability import originals


@pytest.mark.parametrize("owner", ["smartsystemslab-uf*", "talmolab*", "santiago*"])
def test_what_is_read_is_what_the_files_say(owner):
  folders = [*(SHARED / "field_originals").glob(owner)]
  if not folders:
    pytest.skip(f"no {SHARED}/field_originals/{owner}: they are not in the repository")
  if any(folders[0].rglob("*.slp")):
    pytest.importorskip("sleap_io", reason="SLEAP's project files need sleap-io")
  outcomes = originals.compare(folders[0])
  assert sum(outcome.keypoints for outcome in outcomes) > 10
  for outcome in outcomes:
    assert outcome.worst <= originals.WORST
    assert not [p for p in outcome.problems if "other points" in p], outcome
