"""`python -m fskd_jax` is the `fskd` command."""

import sys

from fskd_jax.cli.main import main

sys.exit(main())
