"""Whether a night's heads may go live: gates G0 to G5, each with what it found and what was expected."""
