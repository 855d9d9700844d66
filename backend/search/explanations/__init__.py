"""Why a list is as it is: what feedback weighed, and where a summarizer looked."""
