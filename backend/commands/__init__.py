"""The sub-commands of ``morelike``. Heavy imports stay inside the functions, so that ``morelike --help`` is quick."""
