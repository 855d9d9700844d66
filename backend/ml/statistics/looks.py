"""Looks at an experiment that are planned ahead: O'Brien and Fleming's boundaries for z (Biometrics 35, 1979).

At look k of K, with the same number of observations between looks, a difference counts where |z| > c_K √(K/k). The
constants make the chance of any false alarm 5 % over all looks (Jennison and Turnbull, Group Sequential Methods, 2000,
table 2.3).
"""

import math

_CONSTANTS = (1.960, 1.977, 2.004, 2.024, 2.040, 2.053, 2.063, 2.072)
"""c_K for K = 1, 2, …"""

LOOKS = 4
"""Looks of an experiment unless said otherwise: one a week."""


def boundaries(looks: int = LOOKS) -> tuple[float, ...]:
    """What |z| must exceed at each look, 5 % over all of them.

    Raises:
        ValueError: no constant is known for so many looks.
    """
    if not 1 <= looks <= len(_CONSTANTS):
        raise ValueError(f"{looks} looks: expected 1 to {len(_CONSTANTS)}")
    constant = _CONSTANTS[looks - 1]
    return tuple(constant * math.sqrt(looks / look) for look in range(1, looks + 1))
