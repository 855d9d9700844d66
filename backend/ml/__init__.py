"""Pure numerics: towers, scores and what they are made of. Nothing here knows SQL, HTTP, queues or settings."""
