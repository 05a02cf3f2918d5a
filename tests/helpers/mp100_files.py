"""Files as those of MP-100, generated."""

import numpy as np
from PIL import Image

CATEGORIES, PER_CATEGORY, SIDE = 5, 24, 48


def content(first=0, per_category=PER_CATEGORY):
  """Objects to be left out, boxes over the border, hidden points."""
  rng = np.random.default_rng(0)
  images, entries = [], []
  for number in range(CATEGORIES * per_category):
    category = number % CATEGORIES
    images.append(
      {
        "id": 900 - number,
        "file_name": f"c{first + category}/{number}.png",
        "width": SIDE,
        "height": SIDE - 4,
      }
    )
    count = 3 + category
    points = rng.uniform(2, SIDE - 8, (count, 2)).round(1)
    visible = rng.choice([0, 1, 2], count, p=[0.5, 0.2, 0.3])
    visible[number % count] = 2
    x, y = rng.uniform(-6, 12, 2).round(1).tolist()
    w, h = rng.uniform(18, 50, 2).round(1).tolist()
    entries.append(
      {
        "id": 10 * number,
        "image_id": 900 - number,
        "category_id": category + 7,
        "bbox": [x, y, w, h],
        "area": w * h,
        "iscrowd": 0,
        "num_keypoints": int((visible > 0).sum()),
        "keypoints": np.c_[points * (visible > 0)[:, None], visible].ravel().tolist(),
      }
    )
  whole = entries[40]
  for i, change in enumerate(
    (
      {"iscrowd": 1},
      {"bbox": [5, 5, 1, 9]},
      {"bbox": [SIDE + 1, 5, 9, 9]},
      {"area": 0},
      {"num_keypoints": 0},
      {"keypoints": [0] * len(whole["keypoints"])},
    )
  ):
    entries.insert(17 * i, whole | {"id": 5000 + i} | change)
  rng.shuffle(entries)  # objects come in the order of the images, not of this list
  categories = [
    {
      "id": c + 7,
      "name": f"category {first + c}",
      "keypoints": [f"k{i}" for i in range(3 + c)],
    }
    for c in range(CATEGORIES)
  ]
  return {"images": images, "annotations": entries, "categories": categories}


def write_images(file_content, root):
  """Writes the images that a file names below root."""
  rng = np.random.default_rng(1)
  for entry in file_content["images"]:
    path = root / entry["file_name"]
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (entry["height"], entry["width"], 3)
    Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(path)
