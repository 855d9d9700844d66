"""One shopper's rows, wherever they lie: found, handed out, deleted."""
