"""Data set of figures: a COCO folder with a category for each kind."""

import os
import pathlib
from types import ModuleType

import numpy as np
import tqdm

from fskd_jax.data import coco_entries
from fskd_jax.data.creatures import render, scene
from fskd_jax.data.creatures.skeleton import Builder
from fskd_jax.data.creatures.species import Coat
from fskd_jax.data.figures import face, fish, hand, insect, looks, person
from fskd_jax.files import new_folder, write_json, write_picture

KINDS: dict[str, ModuleType] = {
  "person": person, "hand": hand, "face": face, "insect": insect, "fish": fish,
}  # fmt: skip
"""Kinds by name: each module has KEYPOINTS, `pose` and `turn`."""

JPEG_QUALITY = 92


def draw(kind: str, seed: list[int]) -> render.Picture:
  """Draws one figure; the same seed gives the same picture."""
  rng, build = np.random.default_rng(seed), Builder()
  module = KINDS[kind]
  module.pose(build, rng)
  body, view = render.fit(
    build.body(module.KEYPOINTS), render.camera(*module.turn(rng)), rng
  )
  surface = render.rasterize(body)
  canvas = scene.background(render.DRAWN, rng)
  coat = Coat(base=looks.any_color(rng), mark=looks.any_color(rng))
  rows, columns = surface.rows, surface.columns
  canvas[rows, columns] = render.shade(
    body, surface, view, looks.any_pattern(rng), coat, rng
  )
  low = (float(columns.min()), float(rows.min()))
  high = (float(columns.max()) + 1, float(rows.max()) + 1)
  box = (*low, high[0] - low[0], high[1] - low[1])
  return render.Picture(
    canvas, body.keypoints[:, :2], render.in_front(body, surface.depth), box
  )


def write_figures(out: str | os.PathLike, *, per_kind: int = 400, seed: int = 0) -> int:
  """Draws `per_kind` pictures of every kind into a new folder.

  The folder appears once it is complete: annotations.json (COCO) and images/.

  Returns:
    The number of pictures.

  Raises:
    ValueError: There is less than one picture of a kind.
    FileExistsError: `out` exists.
  """
  if per_kind < 1:
    raise ValueError(f"per_kind is {per_kind}, expected at least 1")
  out = pathlib.Path(out)
  if out.exists():
    raise FileExistsError(f"{out} exists; name a new folder")
  images, annotations = [], []
  jobs = [(kind, i) for kind in KINDS for i in range(per_kind)]
  with new_folder(out) as unfinished:
    (unfinished / "images").mkdir()
    for number, (kind, i) in enumerate(
      tqdm.tqdm(jobs, desc="Drawing", disable=None), start=1
    ):
      category = list(KINDS).index(kind) + 1
      picture = draw(kind, [seed, category, i])
      name = f"{kind}_{i:05d}.jpg"
      write_picture(unfinished / "images" / name, picture.image, quality=JPEG_QUALITY)
      height, width = picture.image.shape[:2]
      images.append(coco_entries.image(number, name, (width, height)))
      seen = picture.visible[:, None]
      triples = np.hstack([picture.keypoints * seen, 2 * seen]).round(2)
      annotations.append(
        coco_entries.annotation(
          number, number, category, picture.box, triples.ravel().tolist()
        )
      )
    categories = [
      {"id": i, "name": kind, "supercategory": "figure"}
      | {"keypoints": list(module.KEYPOINTS), "skeleton": []}
      for i, (kind, module) in enumerate(KINDS.items(), start=1)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(unfinished / "annotations.json", content, indent=None)
  return len(jobs)
