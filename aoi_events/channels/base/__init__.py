"""What several channels use: offers, requests, results, circuit breakers and HTTP."""
