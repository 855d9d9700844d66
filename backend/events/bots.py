"""Programs that say so themselves: what they ask and do is kept, marked, and never learned from.

Who does not say so is found by behaviour, in the sweep.
"""

import re
from functools import lru_cache

# Words of user agents: crawlers name themselves "…bot", "…spider" or "…crawler" and leave an address ("+https://…");
# then browsers without a screen, fetchers of previews, monitors, and the libraries that scripts are written with.
# Cubot makes telephones. Libraries that apps are made of (okhttp, CFNetwork, Dart) are no bots.
_BOTS = re.compile(
    r"(?<!cu)bot\b|bot[/;_-]|spider|crawl|slurp|\+https?://|headless|phantomjs|electron-fetch|puppeteer|playwright"
    r"|selenium|webdriver|facebookexternalhit|whatsapp/|embedly|preview|lighthouse|pagespeed|gtmetrix|pingdom"
    r"|uptime|statuscake|monitor|scrapy|scraper|archiver|wget|curl/|httpie|python-|python/|aiohttp|httpx|libwww|lwp-"
    r"|go-http-client|java/|apache-httpclient|node-fetch|undici|axios/|ruby|perl|php/|postman|insomnia|k6/|locust",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def is_bot(user_agent: str | None) -> bool:
    """Whether a ``User-Agent`` header names a program, or says nothing at all, which no browser and no app does."""
    return not user_agent or _BOTS.search(user_agent) is not None
