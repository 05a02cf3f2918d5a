"""The paper's configuration: every constant that its sources fix, one by one."""

import pytest

from fskd_jax import config, geometry
from fskd_jax.config import Config
from fskd_jax.few_shot import negatives

SUPPLEMENT = "AAAI 2024, supplement A.1"
MFCL = "AAAI 2024, supplement A.2"
DETECTOR = "OpenKD, network/lw_model.py"
OPENKD = "OpenKD, openkd.yaml and its training script"
CVPR = "CVPR 2022, configuration and training script"

CONSTANTS = (
  # Images and augmentation.
  ("data.image_size", 384, OPENKD),
  ("data.image_width", 0, OPENKD),  # square
  ("data.min_support_types", 3, OPENKD),
  ("data.min_query_types", 3, OPENKD),
  ("data.min_query_fraction", 0.4, OPENKD),
  ("data.class_mode", "one_class", OPENKD),
  ("data.auxiliary_knots", (0.5,), OPENKD),
  ("data.flip_probability", 0.5, CVPR),
  ("data.rotation_probability", 0.25, CVPR),
  ("data.rotation_degrees", 15.0, CVPR),
  ("data.color_jitter", 0.0, CVPR),
  ("data.crop", "context", CVPR),
  ("data.crop_context", 0.8, CVPR),
  # The detector.
  ("model.encoder", "resnet50", SUPPLEMENT),
  ("model.strides", (32,), DETECTOR),
  ("model.resnet_blocks", (3, 4, 6, 2), DETECTOR),  # up to layer4, block 1
  ("model.transformer.layers", 0, SUPPLEMENT),
  ("model.batch_norm_momentum", 0.9, DETECTOR),  # 0.1 in PyTorch
  ("model.pool_sigma", 14 / 384, SUPPLEMENT),
  ("model.head", "smd", SUPPLEMENT),
  ("model.mds_widths", (512, 512, 1024), CVPR),
  ("model.kernel_sizes", (1, 3, 5), SUPPLEMENT),
  ("model.kernel_generator", "srm_crm", SUPPLEMENT),
  ("model.shared_crm", True, SUPPLEMENT),  # the counts of parameters
  ("model.residual_crm", False, DETECTOR),
  ("model.bias_net", False, DETECTOR),
  ("model.similarity", "plain", DETECTOR),
  ("model.plain_scale", 50.0, DETECTOR),
  ("model.temperature", 1.0, DETECTOR),
  ("model.query_upsampling", (1.0,), DETECTOR),
  ("model.heatmap_upsampling", "conv1", DETECTOR),
  ("model.heatmap_scale", (2.0,), DETECTOR),
  ("model.freeze_until", "layer3", CVPR),
  # Losses.
  ("loss.heatmap", "mse", OPENKD),
  ("loss.target_sigma", 14 / 384, OPENKD),
  ("loss.main_weight", 1.0, OPENKD),
  ("loss.auxiliary_weight", 1.0, OPENKD),
  ("loss.mfcl_weight", 0.002, OPENKD),
  ("loss.mfcl_level", "mean", MFCL),
  ("loss.mfcl_temperature", 0.05, OPENKD),
  ("loss.negatives_per_image", 10, MFCL),
  ("loss.negative_distance", 30 / 384, MFCL),
  ("loss.negative_box_scale", 1.15, MFCL),
  # Training.
  ("optim.optimizer", "adam", OPENKD),
  ("optim.learning_rate", 1e-4, OPENKD),
  ("optim.schedule", "constant", OPENKD),
  ("optim.warmup_steps", 0, OPENKD),
  ("optim.weight_decay", 0.0, OPENKD),
  ("optim.clip_norm", 0.0, OPENKD),
  ("train.steps", 20_000, OPENKD),  # 40 000 episodes, two a step
  ("train.episodes_per_step", 2, OPENKD),
  ("train.shots", 1, OPENKD),
  ("train.queries", 5, OPENKD),
  ("train.rotate_support", False, OPENKD),
  # Evaluation.
  ("eval.episodes", 1_000, OPENKD),
  ("eval.shots", 1, OPENKD),
  ("eval.queries", 5, OPENKD),
)

PLACES = ("left-front", "right-front", "left-back", "right-back")


@pytest.fixture
def published():
  """The configuration that names itself the paper's."""
  from configs import lightweight

  return lightweight.get_config()


@pytest.mark.parametrize("field, value, source", CONSTANTS)
def test_defaults_are_the_papers(published, field, value, source):
  for cfg in (Config(), published):
    assert config.flatten(cfg)[field] == value, f"{field} is not that of {source}"


def test_scores_include_pck_at_a_tenth_of_the_box():
  assert 0.1 in Config().eval.thresholds  # of the longer side, as both papers have it


def test_gaussians_are_cut_where_they_fall_below_one_percent():
  assert geometry.GAUSSIAN_CUT == pytest.approx(4.6052, abs=1e-4)  # -ln 0.01


def test_boxes_of_negatives_have_a_smallest_side():
  assert negatives.SMALLEST_BOX * 384 == pytest.approx(30)  # pixels, in both codes


def test_types_of_the_papers_animals(published):
  legs, paws, knees = (
    tuple(f"{place} {part}" for place in PLACES) for part in ("leg", "paw", "knee")
  )
  data, head = published.data, ("left ear", "right ear", "nose")
  assert data.base == (*head, *legs, *paws)
  assert data.novel == ("left eye", "right eye", *knees)
  paths = (("nose", "left ear"), ("nose", "right ear"), *zip(legs, paws))
  assert data.auxiliary_paths == paths
