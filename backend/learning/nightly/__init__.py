"""The nightly job: from what shoppers did to a better generation that is live, or to a sentence why not."""
