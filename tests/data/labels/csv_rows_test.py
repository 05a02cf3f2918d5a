"""CSV as spreadsheets of Europe write it."""

import pytest

from fskd_jax.data.labels import formats

COMMAS = "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\nimages/a.png,10.5,20.25\n"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_semicolons_and_decimal_commas_are_read(mark, tmp_path):
  text = COMMAS.replace(",", ";").replace(".5", ",5").replace(".2", ",2")
  found = []
  for name, content in (("commas.csv", COMMAS), ("semicolons.csv", mark + text)):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    found.append(formats.read(path).images)
  assert found[0] == found[1]
  (point,) = found[0][0].objects[0].keypoints.values()
  assert (point.x, point.y) == (10.5, 20.25)
